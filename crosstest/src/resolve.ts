// Inputs that only the network can read (SPEC.md, "Resolution over the network").

import { answered, isGone, tried } from './channel.ts'
import { entities } from './html.ts'
import { canonical, toNpub } from './identity.ts'
import { type Input } from './input.ts'
import { hexToBytes } from '@noble/hashes/utils.js'
import { attempt, foreign, isObject, Refused, refuse } from './json.ts'
import { bodyText, get, httpRefusal, jsonObject, type Transport } from './transport.ts'

export type Resolved = { identity: string; protocol: 'WebFinger' | 'NIP-05' | null; spelling?: string }

const isAbsence = (code: Refused, gone: boolean) => gone || ['host_unknown', 'identity_not_found'].includes(code.code)

export async function resolve(t: Transport, input: Input, now: number): Promise<Resolved> {
  switch (input.kind) {
    case 'account':
      return { identity: input.identity, protocol: null, spelling: input.spelling }
    case 'nip05':
      return { identity: await nip05(t, input.user, input.host, now), protocol: 'NIP-05' }
    case 'page':
      return { identity: await page(t, input.url, input.host, now), protocol: null }
    case 'name':
      return name(t, input.user, input.host, now)
  }
}

async function name(t: Transport, user: string, host: string, now: number): Promise<Resolved> {
  const url = `https://${host}/.well-known/webfinger?resource=acct:${user}@${host}`
  const finger = await answered(get(t, url, 'public'), now)
  const read = finger instanceof Refused ? finger : attempt(() => jsonObject(finger))
  if (!(read instanceof Refused)) {
    return { identity: canonical(`ap:${user.toLowerCase()}@${host}`), protocol: 'WebFinger', spelling: user }
  }
  const key = await tried(nip05(t, user, host, now))
  if (!(key instanceof Refused)) return { identity: key, protocol: 'NIP-05' }
  if (!isAbsence(read, isGone(finger))) throw read
  if (!isAbsence(key, false)) throw key
  return refuse('identity_not_found', 'neither WebFinger nor NIP-05')
}

async function nip05(t: Transport, user: string, host: string, now: number): Promise<string> {
  const got = await answered(get(t, `https://${host}/.well-known/nostr.json?name=${user}`, 'none'), now)
  if (isGone(got) || (got instanceof Refused && got.code === 'host_unknown')) refuse('identity_not_found', host)
  if (got instanceof Refused) throw got
  const { names } = jsonObject(got)
  if (!isObject(names)) refuse('response_refused', 'no names')
  if (!Object.hasOwn(names, user)) refuse('identity_not_found', user)
  const hex = names[user]
  if (typeof hex !== 'string' || !/^[0-9a-f]{64}$/.test(hex)) refuse('response_refused', 'no key')
  const identity = attempt(() => canonical(`nostr:${toNpub(hexToBytes(hex))}`))
  return identity instanceof Refused ? refuse('response_refused', 'no valid key') : identity
}

/** The link of a page to its actor, before its body. */
function alternate(html: string): string | undefined {
  const head = html.split(/<body\b/i)[0]
  for (const [tag] of head.matchAll(/<link\b[^>]*>/gi)) {
    const attribute = (n: string) => new RegExp(`\\s${n}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'i').exec(tag)
    const value = (n: string) => attribute(n)?.[1] ?? attribute(n)?.[2]
    if (value('rel') === 'alternate' && value('type') === 'application/activity+json')
      return entities(value('href') ?? '')
  }
  return undefined
}

async function page(t: Transport, url: string, host: string, now: number): Promise<string> {
  const asked = `https://${host}/.well-known/webfinger?resource=${url}`
  const finger = await answered(get(t, asked, 'public'), now)
  const links = finger instanceof Refused ? undefined : foreign(bodyText(finger))?.links
  const self = Array.isArray(links) ? links.find((l) => isObject(l) && l.rel === 'self')?.href : undefined
  let actor: string | undefined = self
  if (actor === undefined) {
    const got = await answered(get(t, url, 'public'), now)
    if (!(got instanceof Refused)) actor = alternate(bodyText(got))
  }
  if (actor === undefined || !URL.canParse(actor)) return refuse('identity_refused', host)
  const got = await get(t, actor, 'same host', 'application/activity+json')
  const refusal = httpRefusal(got, now)
  if (refusal) throw refusal
  const value = jsonObject(got)
  const isPage = [value.id, value.url].some((u) => typeof u === 'string' && url.startsWith(u))
  const agrees = value.id === actor && (self !== undefined ? new URL(actor).host === host : isPage)
  if (!agrees) refuse('identity_refused', host)
  return canonical(`ap:${String(value.preferredUsername).toLowerCase()}@${new URL(actor).host}`)
}
