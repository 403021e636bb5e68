// What all channels share (SPEC.md, "Lookup").

import { Refused } from './json.ts'
import {
  type Fetched,
  httpRefusal,
  NetworkRefused,
  type Place,
  placeOf,
  statusOf,
  type Transport,
} from './transport.ts'

export type Via = 'direct' | 'cache'
export type Text = { text: string; place: Place; via: Via }
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
  /** Where a proof was looked for. */
  place: Place | null = null
  /** The newest request: a failure is reported with the place of the request that gave it. */
  current: Place | undefined
  via: Via | null = null
  ended: Failure | undefined

  /** "side": the first failure counts, but one of status unreachable outranks the others. */
  side(code: string, detail = '', retryAt?: number, place = this.current): void {
    const weak = ['proof_malformed', 'wrong_owner', 'gist_forked']
    const outranks = this.failed && weak.includes(this.failed.code) && statusOf(code) === 'unreachable'
    if (this.failed === undefined || outranks) this.failed = { code, detail, retryAt, place }
  }

  sideError(error: Refused): void {
    if (error instanceof NetworkRefused) this.side(error.code, error.message, error.retryAt, error.place)
    else this.side(error.code, error.message)
  }

  add(text: string, answer: Fetched): void {
    this.texts.push({ text, place: placeOf(answer), via: answer.cached ? 'cache' : 'direct' })
  }

  /** An answer has come, or a request has failed. */
  saw(got: Fetched | Refused): void {
    if (!(got instanceof Refused)) {
      this.current = placeOf(got)
      this.via = got.cached ? 'cache' : 'direct'
    } else if (got instanceof NetworkRefused) {
      this.current = got.place
      if (got.answer) this.via = got.answer.cached ? 'cache' : 'direct'
    }
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

export function endWith(code: string, detail = '', retryAt?: number, place?: Place): never {
  throw new Ended({ code, detail, retryAt, place })
}

export function endError(error: Refused): never {
  if (error instanceof NetworkRefused) endWith(error.code, error.message, error.retryAt, error.place)
  return endWith(error.code, error.message)
}

/** Runs a channel; what ends it is part of the lookup. */
export async function lookup(channel: (found: Lookup) => Promise<void>): Promise<Lookup> {
  const found = new Lookup()
  try {
    await channel(found)
  } catch (error) {
    if (error instanceof Ended) found.ended = error.failure
    else if (error instanceof Refused) found.ended = { code: error.code, detail: error.message }
    else throw error
    found.ended.place ??= found.current
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

/** The answer with status 200, or the refusal that the general table gives. */
export async function answered(work: Promise<Fetched>, now: number, found?: Lookup): Promise<Fetched | Refused> {
  const answer = await tried(work)
  const got = answer instanceof Refused ? answer : (httpRefusal(answer, now) ?? answer)
  found?.saw(got)
  return got
}

/** The HTTP status behind a refusal; 0 where the transport failed, or where it was a challenge or a limit. */
export function statusBehind(got: Fetched | Refused): number {
  if (!(got instanceof Refused)) return got.status
  const plain = ['http_status', 'auth_required', 'redirect_refused'].includes(got.code)
  return got instanceof NetworkRefused && plain ? (got.answer?.status ?? 0) : 0
}
/** 404 and 410 */
export const isGone = (got: Fetched | Refused): boolean => [404, 410].includes(statusBehind(got))
