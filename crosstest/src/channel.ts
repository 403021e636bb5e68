// What all channels share (SPEC.md, "Lookup").

import { Refused } from './json.ts'
import type { Report } from './judge.ts'
import { type Fetched, httpRefusal, NetworkRefused, statusOf, type Transport } from './transport.ts'

export type Place = NonNullable<Report['place']>
export type Text = { text: string; place: Place }
export type Failure = { code: string; detail: string; retryAt?: number; place?: Place }
export type Context = {
  t: Transport
  now: number
  /** URLs of `add` events that list the subject, newest first. */
  hints: string[]
  /** The name as the user typed it. */
  spelling?: string
  relays: string[]
  config: { githubApi: string; plc: string; appview: string }
}

/** The result of a lookup, as far as it came. `ended` is a definite answer or a failure. */
export class Lookup {
  texts: Text[] = []
  account: string | null = null
  failed: Failure | undefined
  movedTo: string | null = null
  dnssec: boolean | null = null
  lastsUntil: number | undefined
  subject: string | undefined
  place: Place | null = null
  ended: Failure | undefined

  /** "side": the first failure counts, but one of status unreachable outranks the others. */
  side(code: string, detail = '', retryAt?: number): void {
    const weak = ['proof_malformed', 'wrong_owner', 'gist_forked']
    const outranks = this.failed && weak.includes(this.failed.code) && statusOf(code) === 'unreachable'
    if (this.failed === undefined || outranks) this.failed = { code, detail, retryAt }
  }

  sideError(error: Refused): void {
    this.side(error.code, error.message, error instanceof NetworkRefused ? error.retryAt : undefined)
  }
}

/** Ends a lookup at once. */
export class Ended extends Error {
  failure: Failure
  constructor(failure: Failure) {
    super(failure.code)
    this.failure = failure
  }
}

export function endWith(code: string, detail = '', retryAt?: number): never {
  throw new Ended({ code, detail, retryAt })
}

export const endError = (error: Refused): never =>
  endWith(error.code, error.message, error instanceof NetworkRefused ? error.retryAt : undefined)

/** Runs a channel; what ends it is part of the lookup. */
export async function lookup(channel: (found: Lookup) => Promise<void>): Promise<Lookup> {
  const found = new Lookup()
  try {
    await channel(found)
  } catch (error) {
    if (error instanceof Ended) found.ended = error.failure
    else if (error instanceof Refused) found.ended = { code: error.code, detail: error.message }
    else throw error
  }
  return found
}

/** The result of a request, or its refusal. */
export async function tried<T>(work: Promise<T>): Promise<T | Refused> {
  try {
    return await work
  } catch (error) {
    if (error instanceof Refused) return error
    throw error
  }
}

export function placeOf(answer: Fetched): Place {
  const place: Place = { url: answer.asked, http_status: answer.status }
  if (answer.url !== answer.asked) place.redirected_to = answer.url
  return place
}

/** The answer with status 200, or the refusal that the general table gives. */
export async function answered(work: Promise<Fetched>, now: number): Promise<Fetched | Refused> {
  const answer = await tried(work)
  return answer instanceof Refused ? answer : (httpRefusal(answer, now) ?? answer)
}

/** The HTTP status behind a refusal; 0 where the transport failed, or where it was a challenge or a limit. */
export function statusBehind(got: Fetched | Refused): number {
  if (!(got instanceof Refused)) return got.status
  const plain = ['http_status', 'auth_required', 'redirect_refused'].includes(got.code)
  return got instanceof NetworkRefused && plain ? (got.answer?.status ?? 0) : 0
}
export const isGone = (got: Fetched | Refused): boolean => [404, 410].includes(statusBehind(got))
