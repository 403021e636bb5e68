// Asking a relay (SPEC.md, "Asking a relay"): pages of one filter, and the messages of a whole request.

import { tried } from './channel.ts'
import { foreign, Refused } from './json.ts'
import { counts, type Filter, matches, type NostrEvent } from './nostr-event.ts'
import type { Connection, Transport } from './transport.ts'

const MAX_PAGES = 100
const MAX_PAGE = 1200
const MAX_STRANGERS = 2000
const MAX_MESSAGE = 256 * 1024
const MAX_ALL = 32 * 1024 * 1024

export type FilterResult = { events: NostrEvent[]; failed?: { code: string; detail: string } }

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

/** All filters of a request, one after another, over one connection. Throws where nothing came at all. */
export async function askRelay(t: Transport, url: string, filters: Filter[]): Promise<FilterResult[]> {
  const results: FilterResult[] = filters.map(() => ({ events: [] }))
  const finished = filters.map(() => false)
  const opened = await tried(t.relay(url))
  if (opened instanceof Refused) throw opened
  const connection: Connection = opened
  let bytes = 0
  let probing = false

  const fail = (n: number, code: string, detail: string) => {
    results[n].failed ??= { code, detail }
  }

  /** One page; a NOTICE is an answer that a later EVENT or EOSE cures. */
  async function page(n: number, name: string, filter: Filter): Promise<NostrEvent[] | undefined> {
    connection.send(JSON.stringify(['REQ', name, filter]))
    const events: NostrEvent[] = []
    for (;;) {
      const text = await connection.receive()
      bytes += Buffer.byteLength(text)
      if (bytes > MAX_ALL) throw new Refused('search_incomplete', 'the bytes of a relay')
      if (Buffer.byteLength(text) > MAX_MESSAGE) continue
      const message = foreign(text)
      if (!Array.isArray(message)) continue
      if (message[0] === 'NOTICE') {
        const words = String(message[1])
        if (!probing) {
          fail(n, closedCode(words), words)
          return undefined
        }
        return undefined
      }
      if (message[1] !== name) continue
      if (message[0] === 'CLOSED') {
        fail(n, closedCode(String(message[2] ?? '')), String(message[2] ?? ''))
        return undefined
      }
      if (message[0] === 'EVENT' && counts(message[2])) {
        results[n].failed = undefined
        events.push(message[2])
        if (events.length > MAX_PAGE) {
          fail(n, 'search_incomplete', 'the events of a page')
          return undefined
        }
      }
      if (message[0] === 'EOSE') {
        connection.send(JSON.stringify(['CLOSE', name]))
        return events
      }
    }
  }

  const add = (n: number, events: NostrEvent[]) => {
    const seen = new Set(results[n].events.map((e) => e.id))
    for (const event of events) {
      if (matches(event, filters[n]) && !seen.has(event.id) && seen.add(event.id)) results[n].events.push(event)
    }
  }

  try {
    for (const [n, filter] of filters.entries()) {
      const paging = new Paging(filter)
      while (!paging.done) {
        const events = await page(n, `kez${n + 1}`, paging.next)
        if (events === undefined) break
        add(n, events)
        paging.page(events)
        const strangers = filter.authors === undefined && results[n].events.length > MAX_STRANGERS
        if (strangers || paging.failed) fail(n, 'search_incomplete', 'a limit ended the search')
        if (strangers) break
      }
      finished[n] = true
    }
    probing = true
    connection.close()
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    for (const n of filters.keys()) if (!finished[n]) fail(n, error.code, error.message)
  }
  const nothing = results.every((r) => r.failed !== undefined && r.events.length === 0)
  if (nothing && filters.length > 0) throw new Refused(results[0].failed!.code, results[0].failed!.detail)
  return results
}
