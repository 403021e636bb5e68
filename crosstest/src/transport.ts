// What a reader asks of the network, and what answers of HTTP mean (SPEC.md, "Channels", "Transport and redirects").
// A transport itself is not here: the reader's state machines run over recorded answers.

import { foreign, isObject, Refused, refuse } from './json.ts'
import type { Filter } from './nostr-event.ts'
import type { FilterResult } from './relay.ts'

/** `url` is set where the transport has followed redirects itself; `cached`, where it had stored the answer. */
export type HttpAnswer = {
  status: number
  headers: { [name: string]: string }
  body: Uint8Array
  url?: string
  cached?: boolean
}
/** `ttl` is how long an answer without a proof lasts, in seconds (KEZ-DNS-04). */
export type DnsAnswer = { rcode: number; records: string[]; ad: boolean; ttl?: number }
/** One connection to a relay. `receive` gives the next message, or throws the refusal that ends the connection. */
export type Connection = { send: (text: string) => void; receive: () => Promise<string>; close: () => void }

export type Transport = {
  /** One request without redirects; throws a refusal (`timeout`, `host_unknown`, …) where none answered. */
  http: (url: string, accept: string) => Promise<HttpAnswer>
  txt: (name: string) => Promise<DnsAnswer>
  /** All filters of one request; `askOver` does it over a connection. */
  relay: (url: string, filters: Filter[]) => Promise<FilterResult[]>
}

/** Where redirects may go. */
export type Class = 'same host' | 'public' | 'none'
export type Fetched = HttpAnswer & { url: string; asked: string }
export type Place = { url: string; http_status?: number; rcode?: number; redirected_to?: string }

export function placeOf(answer: Fetched): Place {
  const place: Place = { url: answer.asked, http_status: answer.status }
  if (answer.url !== answer.asked) place.redirected_to = answer.url
  return place
}

const MAX_REDIRECTS = 3
export const MAX_BODY = 256 * 1024

/** A refusal of the network, with the time when to ask again. */
export class NetworkRefused extends Refused {
  place: Place
  retryAt?: number
  answer?: Fetched
  constructor(code: string, detail: string, place: Place, retryAt?: number, answer?: Fetched) {
    super(code, detail)
    this.place = place
    this.retryAt = retryAt
    this.answer = answer
  }
}

/** KEZ-TRN-01, KEZ-TRN-09 */
export function checkUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : refuse('address_refused', text)
  if (url.protocol !== 'https:' && url.protocol !== 'wss:') refuse('address_refused', text)
  return url.username === '' && url.password === '' ? url : refuse('address_refused', text)
}

/** A request with its redirects, as its class allows (KEZ-TRN-03). */
export async function get(
  t: Transport,
  asked: string,
  kind: Class,
  accept = '*/*',
  limit = MAX_BODY,
): Promise<Fetched> {
  try {
    return await follow(t, asked, kind, accept, limit)
  } catch (error) {
    throw error instanceof Refused ? new NetworkRefused(error.code, error.message, { url: asked }) : error
  }
}

async function follow(t: Transport, asked: string, kind: Class, accept: string, limit: number): Promise<Fetched> {
  let url = asked
  for (let hops = 0; ; hops += 1) {
    const from = checkUrl(url)
    const answer = await t.http(url, accept)
    const headers = Object.fromEntries(Object.entries(answer.headers).map(([n, v]) => [n.toLowerCase(), v]))
    if (answer.body.length > limit) refuse('body_too_large', url)
    const fetched = { ...answer, headers, url: answer.url ?? url, asked }
    const target = headers.location
    if (![301, 302, 303, 307, 308].includes(answer.status) || target === undefined) return fetched
    const to = URL.canParse(target, url) ? new URL(target, url) : refuse('redirect_refused', target)
    const sameHost = to.protocol === from.protocol && to.host === from.host
    const allowed = kind === 'public' ? to.protocol === 'https:' : kind === 'same host' && sameHost
    if (!allowed || hops >= MAX_REDIRECTS) refuse('redirect_refused', `${from.host} to ${to.host}`)
    url = to.href
  }
}

export const bodyText = (answer: HttpAnswer): string => new TextDecoder().decode(answer.body)

/** Foreign JSON; nothing where it is none, or where the answer does not say that it is JSON. */
export function jsonOf(answer: HttpAnswer, anyType = false): any {
  const due = anyType || /json/i.test(answer.headers['content-type'] ?? '')
  return due ? foreign(bodyText(answer)) : undefined
}

/** A body of foreign JSON that has to be an object. */
export function jsonObject(answer: HttpAnswer, anyType = false): { [name: string]: any } {
  const value = jsonOf(answer, anyType)
  return isObject(value) ? value : refuse('response_refused', 'no JSON object')
}

/** A number below 1,000,000,000 is seconds from the answer, a larger one is a date, and a date is RFC 3339. */
function moment(text: string, now: number): number | undefined {
  if (/^[0-9]+$/.test(text)) return Number(text) < 1_000_000_000 ? now + Number(text) : Number(text)
  const ms = Date.parse(text)
  return /^[0-9]{4}-[0-9]{2}-[0-9]{2}T/.test(text) && !Number.isNaN(ms) ? Math.floor(ms / 1000) : undefined
}

export function retryAt({ headers }: HttpAnswer, now: number): number | undefined {
  if (headers['retry-after'] !== undefined) return moment(headers['retry-after'], now)
  const reset = headers['x-ratelimit-reset'] ?? headers['ratelimit-reset']
  const remaining = headers['x-ratelimit-remaining']
  return reset === undefined || (remaining !== undefined && remaining !== '0') ? undefined : moment(reset, now)
}

const BOT_CHECKS = [
  ...['just a moment...', 'checking your browser', 'checking if the site connection is secure'],
  ...['attention required! | cloudflare', "making sure you're not a bot", 'making sure you&#39;re not a bot'],
  ...['cf-chl-', '_cf_chl_opt', '/cdn-cgi/challenge-platform/', 'ddos-guard', 'awswafcookiedomainlist'],
  'verify you are human',
]

function isWebPage(answer: HttpAnswer): boolean {
  if (/html/i.test(answer.headers['content-type'] ?? '')) return true
  return /^[\ufeff \t\n\f\r]*(?:<!doctype html|<html)/i.test(bodyText(answer))
}

export function isChallenge(answer: HttpAnswer): boolean {
  const names = ['cf-mitigated', 'x-vercel-mitigated', 'x-amzn-waf-action']
  if (names.some((n) => /challenge|captcha/i.test(answer.headers[n] ?? ''))) return true
  if (!isWebPage(answer)) return false
  const start = new TextDecoder().decode(answer.body.subarray(0, 16 * 1024)).toLowerCase()
  return BOT_CHECKS.some((mark) => start.includes(mark))
}

function isLimited(answer: HttpAnswer): boolean {
  const { status, headers } = answer
  if (status === 429) return true
  if (status !== 403) return false
  if (headers['x-ratelimit-remaining'] === '0' || headers['retry-after'] !== undefined) return true
  const value = foreign(bodyText(answer))
  if (!isObject(value)) return false
  return /rate limit|abuse detection/i.test(String(value.message)) || /rate-limit/.test(String(value.documentation_url))
}

/** What an answer without a row in its channel's table means; nothing for 200. */
export function httpRefusal(answer: Fetched, now: number): NetworkRefused | undefined {
  const { status, url } = answer
  const refusal = (code: string, at?: number) =>
    new NetworkRefused(code, `${status} from ${url}`, placeOf(answer), at, answer)
  if (isChallenge(answer)) return refusal('challenge')
  if (isLimited(answer)) return refusal('rate_limited', retryAt(answer, now))
  if (status === 200) return undefined
  if (status === 401) return refusal('auth_required')
  if (status >= 300 && status < 400) return refusal('redirect_refused')
  return refusal('http_status', status === 503 ? retryAt(answer, now) : undefined)
}

const UNREACHABLE = new Set(
  `rollback chain_unreachable chain_damaged log_refused log_inconsistent log_unwitnessed no_channel rate_limited
  auth_required account_suspended challenge offline timeout connect_failed tls_failed dns_failed http_status
  redirect_refused address_refused body_too_large response_refused relay_refused host_unknown search_incomplete
  publish_refused`.split(/\s+/),
)

/** The status of a code (Appendix A), as far as a lookup or a history gives one. */
export function statusOf(code: string): 'invalid' | 'revoked' | 'expired' | 'unreachable' | 'fork' {
  if (UNREACHABLE.has(code)) return 'unreachable'
  if (['forked', 'beacon_mismatch', 'head_conflict'].includes(code)) return 'fork'
  if (['revoked', 'key_rotated', 'key_compromised', 'device_revoked'].includes(code)) return 'revoked'
  return code === 'expired' ? 'expired' : 'invalid'
}
