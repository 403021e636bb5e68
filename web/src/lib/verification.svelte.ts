/** One verification as it goes on: its steps, its reports, and what the platforms showed. */
import { type Code, type Graph, identity, KezError, readInput, type Report } from 'kez'
import { recording } from './recording.ts'
import { openMemory } from './store.ts'
import { verifyOptions } from './settings.ts'

export interface Step {
  place: string
  /** null while it is asked. */
  code: Code | 'ok' | null
  ms: number
}

/** The path of the page that verifies a query; the address of a page has characters that end a path's segment. */
export const pathOf = (query: string) => `/${query.replace(/[%/?#]/g, encodeURIComponent)}`

export class Verification {
  readonly subject: string
  steps = $state<Step[]>([])
  reports = $state<Report[]>([])
  graph = $state<Graph>()
  error = $state<KezError>()
  running = $state(false)
  /** What the platforms answered, by URL. */
  seen = $state.raw<ReadonlyMap<string, string>>(new Map())
  #stop = new AbortController()

  /** Throws a `KezInputError` for a text that names no identity. */
  constructor(query: string) {
    this.subject = readInput(query)
  }

  async run(): Promise<void> {
    this.#stop.abort()
    const stop = (this.#stop = new AbortController())
    this.running = true
    this.steps = []
    this.reports = []
    this.error = undefined
    const began = new Map<string, { step: Step; at: number }>()
    try {
      const graph = await identity(this.subject, {
        ...verifyOptions(),
        memory: await openMemory(),
        signal: stop.signal,
        fetch: recording((url, text) => (this.seen = new Map(this.seen).set(url, text))),
        onProgress: (event) => {
          if (stop.signal.aborted) return
          if (event.type === 'judged') {
            this.reports.push(event.report)
          } else if (event.type === 'asking') {
            this.steps.push({ place: event.place, code: null, ms: 0 })
            began.set(event.place, { step: this.steps.at(-1) as Step, at: performance.now() })
          } else {
            const asked = began.get(event.place)
            if (asked === undefined) return
            asked.step.code = event.code ?? 'ok'
            asked.step.ms = Math.round(performance.now() - asked.at)
          }
        },
      })
      if (stop.signal.aborted) return
      this.graph = graph
      this.reports = graph.edges
    } catch (error) {
      if (stop.signal.aborted) return
      if (!(error instanceof KezError)) throw error
      this.error = error
    } finally {
      if (!stop.signal.aborted) this.running = false
    }
  }

  stop(): void {
    this.#stop.abort()
  }
}
