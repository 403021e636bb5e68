/**
 * Driving the core's long pieces of work. They are polled here and not by the glue, so that a
 * panic in the middle rejects a promise instead of leaving it pending for ever.
 */

/** A piece of work, as the glue gives it. */
export interface Task {
  /** The result in a list of its own, once there is one. */
  poll(): unknown[] | undefined
  free(): void
}

/**
 * Drives a task to its end, with every call into the module by way of `call`. What `stop` is given
 * ends it early.
 */
export function drive(
  begin: (wake: () => void) => Task,
  call: <R>(work: () => R) => R,
): { done: Promise<unknown>; stop: (error: unknown) => void } {
  let stop!: (error: unknown) => void
  const done = new Promise<unknown>((resolve, reject) => {
    // Node counts the timers of signals as nothing to wait for.
    const awake = setInterval(() => {}, 2 ** 30)
    let [scheduled, over] = [true, false]
    const end = (settle: () => void) => {
      clearInterval(awake)
      over = true
      settle()
    }
    stop = (error) => end(() => reject(error))
    const step = () => {
      scheduled = false
      if (over) return
      try {
        const result = call(() => task.poll())
        if (result === undefined) return
        call(() => task.free())
        end(() => resolve(result[0]))
      } catch (error) {
        stop(error)
      }
    }
    const wake = () => {
      if (scheduled) return
      scheduled = true
      queueMicrotask(step)
    }
    let task: Task
    try {
      task = call(() => begin(wake))
      queueMicrotask(step)
    } catch (error) {
      stop(error)
    }
  })
  return { done, stop }
}
