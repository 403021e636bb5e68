// WebFinger and host-meta (SPEC.md, "Channel ap").

import { answered, isGone, type Lookup } from './channel.ts'
import { isDomain } from './identity.ts'
import { hostOf } from './input.ts'
import { attempt, foreign, isObject, Refused, refuse } from './json.ts'
import * as o from './object.ts'
import { bodyText, type Fetched, get, jsonOf, type Transport } from './transport.ts'

export type Name = { user: string; host: string }
/** What a WebFinger says: the account's name (none where it gives none), and the actor. */
export type Finger = { name: Name | undefined; other: boolean; actor: string }

/** A URL of the grammar of signed objects, whose path may be absent. */
export function plainUrl(text: unknown): URL | undefined {
  if (typeof text !== 'string' || !text.startsWith('https://')) return undefined
  const whole = /^https:\/\/[^/?#]*$/.test(text) ? `${text}/` : text
  const refused = attempt(() => o.url(whole)) instanceof Refused
  return refused || !isDomain(new URL(whole).hostname) ? undefined : new URL(whole)
}

export const isActivity = (type: unknown): boolean =>
  typeof type === 'string' &&
  (/^application\/activity\+json/i.test(type) ||
    (/^application\/ld\+json/i.test(type) && /activitystreams/i.test(type)))

/** Actors' URLs are compared without slashes at the end. */
export const sameUrl = (a: string, b: string): boolean => a.replace(/\/+$/, '') === b.replace(/\/+$/, '')

export const sameName = (a: Name | undefined, b: Name): boolean => a?.user === b.user && a.host === b.host

export function readName(text: string): Name | undefined {
  const [user, host, more] = text
    .replace(/^acct:/i, '')
    .replace(/^@/, '')
    .split('@')
  if (!user || host === undefined || more !== undefined) return undefined
  const ascii = attempt(() => hostOf(host))
  return ascii instanceof Refused ? undefined : { user: user.toLowerCase(), host: ascii }
}

/** KEZ-AP-01 */
export function readFinger(answer: Fetched): Finger {
  const value = jsonOf(answer, true)
  if (!isObject(value)) refuse('response_refused', 'no JSON object')
  const links: any[] = Array.isArray(value.links) ? value.links : []
  const link = links.find((l) => isObject(l) && l.rel === 'self' && isActivity(l.type))
  if (!plainUrl(link?.href)) refuse('response_refused', 'no actor')
  const { subject } = value
  const actor: string = link.href
  if (subject === undefined || subject === null || (typeof subject === 'string' && sameUrl(subject, actor))) {
    return { name: undefined, other: false, actor }
  }
  const name = typeof subject === 'string' ? readName(subject) : undefined
  return { name, other: name === undefined, actor }
}

export const fingerUrl = (at: string, who: string): string =>
  `https://${at}/.well-known/webfinger?resource=${encodeURIComponent(`acct:${who}`)}`

/** The templates of a host-meta document, as JRD or XRD. */
export function templates(text: string): string[] {
  const value = foreign(text)
  const all: string[] = []
  if (isObject(value)) {
    const links: any[] = Array.isArray(value.links) ? value.links : []
    all.push(...links.filter((l) => isObject(l) && l.rel === 'lrdd').map((l) => String(l.template)))
  } else {
    for (const [tag] of text.matchAll(/<Link\b[^>]*>/gi)) {
      const template = /\stemplate=["']([^"']*)["']/i.exec(tag)?.[1]
      if (/\srel=["']lrdd["']/i.test(tag) && template) all.push(template.replaceAll('&amp;', '&'))
    }
  }
  return all.filter((t) => t.startsWith('https://') && t.includes('{uri}'))
}

/** What host-meta at a host leads to: an answer, that there is nothing, or the failure of both documents. */
export async function hostMeta(
  t: Transport,
  host: string,
  who: string,
  now: number,
  found: Lookup,
): Promise<Fetched | Refused | undefined> {
  const documents = await Promise.all(
    ['host-meta', 'host-meta.json'].map((path) =>
      answered(get(t, `https://${host}/.well-known/${path}`, 'public'), now, found),
    ),
  )
  const asked = fingerUrl(host, who)
  const urls = documents
    .flatMap((d) => (d instanceof Refused ? [] : templates(bodyText(d))))
    .map((template) => template.replace('{uri}', encodeURIComponent(`acct:${who}`)))
    .filter((url) => url !== asked)
  let failure: Refused | undefined
  for (const url of [...new Set(urls)].slice(0, 2)) {
    const there = await answered(get(t, url, 'public'), now, found)
    if (!(there instanceof Refused)) return there
    if (!isGone(there)) failure ??= there
  }
  if (failure || urls.length > 0) return failure
  const none = (d: Fetched | Refused) => !(d instanceof Refused) || isRefusal(d)
  return documents.find((d): d is Refused => !none(d))
}

/** 4xx except 401, a rate limit and a challenge. */
function isRefusal(error: Refused): boolean {
  const status = (error as { answer?: Fetched }).answer?.status ?? 0
  return error.code === 'http_status' && status >= 400 && status < 500
}
