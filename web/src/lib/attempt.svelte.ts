/** Something that a button or a form does: whether it is under way, and with what it failed. */
export class Attempt {
  busy = $state(false)
  failure = $state<unknown>()

  /** Does it; what it throws is kept to be shown. */
  async run(work: () => unknown): Promise<void> {
    this.busy = true
    this.failure = undefined
    try {
      await work()
    } catch (error) {
      this.failure = error
    } finally {
      this.busy = false
    }
  }
}
