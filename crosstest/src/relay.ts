// Asking a relay (SPEC.md, "Asking a relay"): pages of one filter, and the messages of a whole request.

import { tried } from './channel.ts'
import { foreign, Refused } from './json.ts'
import { counts, type Filter, matches, type NostrEvent } from './nostr-event.ts'
import type { Connection } from './transport.ts'

const MAX_PAGES = 100
const MAX_PAGE = 1200
const MAX_STRANGERS = 2000
const MAX_MESSAGE = 256 * 1024
const MAX_ALL = 32 * 1024 * 1024

/** `came`: an event came for the filter, whether it matches or not. */
export type FilterResult = { events: NostrEvent[]; came: boolean; failed?: { code: string; detail: string } }

/** The algorithm `relay_page`, one page at a time. */
export class Paging {
  filter: Filter
  done = false
  failed: string | undefined
  #largest = 0
  #clamped = false
  #skipped = false
  #forward = false
  #stepped: number | undefined
  #newest: number | undefined
  #bound: number | undefined
  #known = new Set<string>()
  #pages = 0
  #fell = false
  #rose = false

  constructor(filter: Filter) {
    this.filter = filter
  }

  /** The filter of the next page. */
  get next(): Filter {
    if (this.#bound === undefined) return this.filter
    return { ...this.filter, [this.#forward ? 'since' : 'until']: this.#bound }
  }

  #end(failed?: string): void {
    this.done = true
    this.failed = failed
  }

  /** Steps 2b to 2i. */
  page(events: NostrEvent[]): void {
    this.#pages += 1
    const fresh = events.filter(({ id }) => !this.#known.has(id) && this.#known.add(id))
    for (const { created_at } of events) this.#newest = Math.max(this.#newest ?? created_at, created_at)
    events.forEach((event, i) => {
      const before = events[i - 1]?.created_at
      if (before !== undefined && event.created_at < before) this.#fell = true
      if (before !== undefined && event.created_at > before) this.#rose = true
    })
    if (this.#pages > 1 && fresh.length > 0) this.#clamped = true
    const full = events.length >= this.#largest
    this.#largest = Math.max(this.#largest, events.length)
    if (this.#stepped !== undefined && (this.#clamped || this.#stepped >= 10)) this.#skipped = true
    const doubt = this.#stepped
    this.#stepped = undefined
    if (this.filter.limit === 1 && events.length === 1 && matches(events[0], this.filter)) return this.#end()
    const dates = events.map((e) => e.created_at)
    const edge = this.#forward ? Math.max(...dates) : Math.min(...dates)
    if (fresh.length > 0) {
      this.#bound = edge
    } else if (events.length > 0 && full && doubt === undefined) {
      this.#stepped = events.length
      this.#bound = this.#forward ? edge + 1 : edge - 1
    } else if (!this.#forward && this.#known.size >= 2 && !(this.#fell && !this.#rose)) {
      this.#forward = true
      this.#bound = this.#newest
    } else {
      if (this.#clamped && this.#fell && this.#rose) this.#skipped = true
      return this.#end(this.#skipped ? 'search_incomplete' : undefined)
    }
    if (this.#pages >= MAX_PAGES) this.#end('search_incomplete')
  }
}

function closedCode(words: string): string {
  if (/^(?:auth-required|restricted):/.test(words)) return 'auth_required'
  return words.startsWith('rate-limited:') ? 'rate_limited' : 'relay_refused'
}

type State = 'waiting' | 'open' | 'noticed' | 'done'

/** The messages of one request, whose filters go one after another. The caller sends what `outgoing` collects. */
export class RelayRequest {
  results: FilterResult[]
  outgoing: string[] = []
  #filters: Filter[]
  #pagings: Paging[]
  #states: State[]
  #pages: NostrEvent[][]
  #bytes = 0
  #probed = false

  constructor(filters: Filter[]) {
    this.#filters = filters
    this.#pagings = filters.map((f) => new Paging(f))
    this.#states = filters.map(() => 'waiting')
    this.#pages = filters.map(() => [])
    this.results = filters.map(() => ({ events: [], came: false }))
    this.#go()
  }

  get done(): boolean {
    return this.#states.every((s) => s === 'done')
  }

  /** Step 1: the next filter when none is in progress; step 6: a probe where only a NOTICE answered. */
  #go(): void {
    if (this.#states.includes('open')) return
    const n = this.#states.indexOf('waiting')
    if (n >= 0) return this.#request(n)
    if (this.done || this.#probed) return
    this.#probed = true
    this.outgoing.push(JSON.stringify(['REQ', 'kez0', { ids: ['0'.repeat(64)], limit: 1 }]))
  }

  #request(n: number): void {
    this.#states[n] = 'open'
    this.#pages[n] = []
    this.outgoing.push(JSON.stringify(['REQ', `kez${n + 1}`, this.#pagings[n].next]))
  }

  #finish(n: number, failed?: { code: string; detail: string }): void {
    this.#states[n] = 'done'
    this.results[n].failed = failed
    this.#go()
  }

  /** One message of the relay. */
  message(text: string): void {
    const size = Buffer.byteLength(text)
    this.#bytes += size
    if (this.#bytes > MAX_ALL) return this.fail('search_incomplete', 'the bytes of a relay')
    const message = size > MAX_MESSAGE ? undefined : foreign(text)
    if (!Array.isArray(message)) return
    const [type, name, body] = message
    if (type === 'NOTICE') return this.#notice(String(name ?? ''))
    if (name === 'kez0') {
      if (this.#probed && (type === 'EOSE' || type === 'CLOSED')) this.#endNoticed()
      return
    }
    const n = /^kez[1-9][0-9]*$/.test(String(name)) ? Number(String(name).slice(3)) - 1 : -1
    if (this.#states[n] !== 'open' && this.#states[n] !== 'noticed') return
    if (type === 'CLOSED') this.#finish(n, { code: closedCode(String(body ?? '')), detail: String(body ?? '') })
    else if (type === 'EVENT' && counts(body)) this.#event(n, body)
    else if (type === 'EOSE') this.#endOfPage(n)
  }

  #event(n: number, event: NostrEvent): void {
    this.#states[n] = 'open' // a NOTICE is cured
    this.results[n].failed = undefined
    this.results[n].came = true
    this.#pages[n].push(event)
    const { events } = this.results[n]
    if (matches(event, this.#filters[n]) && !events.some((e) => e.id === event.id)) events.push(event)
    const strangers = this.#filters[n].authors === undefined && events.length > MAX_STRANGERS
    if (this.#pages[n].length > MAX_PAGE || strangers) this.#finish(n, { code: 'search_incomplete', detail: 'events' })
  }

  #endOfPage(n: number): void {
    this.outgoing.push(JSON.stringify(['CLOSE', `kez${n + 1}`]))
    const paging = this.#pagings[n]
    paging.page(this.#pages[n])
    if (!paging.done) return this.#request(n)
    this.#finish(n, paging.failed === undefined ? undefined : { code: paging.failed, detail: 'pages' })
  }

  /** Step 6: the answer to the newest filter in progress, until an EVENT or EOSE cures it. */
  #notice(words: string): void {
    const n = this.#states.lastIndexOf('open')
    if (n < 0) return this.#probed ? this.#endNoticed() : undefined
    this.#states[n] = 'noticed'
    this.results[n].failed = { code: closedCode(words), detail: words }
    this.#go()
  }

  #endNoticed(): void {
    this.#states = this.#states.map((s) => (s === 'noticed' ? 'done' : s))
  }

  /** Step 7: a timeout, a closed connection or a broken frame ends every unfinished filter. */
  fail(code: string, detail: string): void {
    for (const [n, state] of this.#states.entries()) {
      if (state !== 'done') this.results[n].failed ??= { code, detail }
    }
    this.#states = this.#states.map(() => 'done')
  }
}

/** A whole request over a connection. It fails only where no event came and every filter failed. */
export async function askOver(connection: Connection, filters: Filter[]): Promise<FilterResult[]> {
  const request = new RelayRequest(filters)
  while (!request.done) {
    for (const text of request.outgoing.splice(0)) connection.send(text)
    const got = await tried(connection.receive())
    if (got instanceof Refused) request.fail(got.code, got.message)
    else request.message(got)
  }
  for (const text of request.outgoing.splice(0)) connection.send(text)
  connection.close()
  const nothing = request.results.every((r) => r.failed !== undefined && r.events.length === 0)
  if (nothing && filters.length > 0)
    throw new Refused(request.results[0].failed!.code, request.results[0].failed!.detail)
  return request.results
}
