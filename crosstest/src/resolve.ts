// Inputs that only the network can read (SPEC.md, "Resolution over the network").

import { hexToBytes } from '@noble/hashes/utils.js'
import { answered, isGone, tried } from './channel.ts'
import { entities } from './html.ts'
import { canonical, toNpub } from './identity.ts'
import type { Input } from './input.ts'
import { attempt, isObject, Refused, refuse } from './json.ts'
import { bodyText, get, jsonOf, type Transport } from './transport.ts'
import { fingerUrl, isActivity, plainUrl, readName, sameUrl, templates } from './webfinger.ts'

export type Resolved = { identity: string; protocol: 'WebFinger' | 'NIP-05' | null; spelling?: string }

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
  const lower = user.toLowerCase()
  const identity = attempt(() => canonical(`ap:${lower}@${host}`))
  let failure: Refused | undefined
  if (!(identity instanceof Refused)) {
    const found: Resolved = { identity, protocol: 'WebFinger', spelling: user }
    let absent = false
    for (const who of [...new Set([user, lower])]) {
      const got = await answered(get(t, fingerUrl(host, `${who}@${host}`), 'public'), now)
      absent = isGone(got) || (got instanceof Refused && got.code === 'host_unknown')
      if (absent) continue
      const value = got instanceof Refused ? undefined : jsonOf(got, true)
      if (isObject(value) && ('subject' in value || 'links' in value)) return found
      failure = got instanceof Refused ? got : new Refused('response_refused', 'no WebFinger')
      break
    }
    if (absent) {
      const meta = await answered(get(t, `https://${host}/.well-known/host-meta`, 'public'), now)
      if (!(meta instanceof Refused) && templates(bodyText(meta)).length > 0) return found
    }
  }
  const key = await tried(nip05(t, lower, host, now))
  if (!(key instanceof Refused)) return { identity: key, protocol: 'NIP-05' }
  if (failure) throw failure
  if (key.code !== 'identity_not_found') throw key
  return refuse('identity_not_found', 'neither WebFinger nor NIP-05')
}

async function nip05(t: Transport, user: string, host: string, now: number): Promise<string> {
  const url = `https://${host}/.well-known/nostr.json?name=${encodeURIComponent(user)}`
  const got = await answered(get(t, url, 'none'), now)
  if (isGone(got) || (got instanceof Refused && got.code === 'host_unknown')) refuse('identity_not_found', host)
  if (got instanceof Refused) throw got
  // Many hosts answer every path with a page.
  const names = jsonOf(got, true)?.names
  if (!isObject(names) || !Object.hasOwn(names, user)) return refuse('identity_not_found', user)
  const hex = names[user]
  const valid = typeof hex === 'string' && /^[0-9a-f]{64}$/.test(hex)
  const identity = valid ? attempt(() => canonical(`nostr:${toNpub(hexToBytes(hex))}`)) : undefined
  return typeof identity === 'string' ? identity : refuse('response_refused', 'no valid key')
}

/** The link of a page to its actor, before its body. */
function alternate(html: string, base: string): string | undefined {
  const head = html.split(/<body\b/i)[0]
  for (const [tag] of head.matchAll(/<link\b[^>]*>/gi)) {
    const value = (n: string) => {
      const match = new RegExp(`\\s${n}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'i').exec(tag)
      return match?.[1] ?? match?.[2]
    }
    if (value('rel')?.toLowerCase() !== 'alternate' || !isActivity(value('type'))) continue
    const href = entities(value('href') ?? '')
    return href.startsWith('/') && !href.startsWith('//') ? new URL(href, base).href : href
  }
  return undefined
}

/** Whether a page is what a URL names, or lies below it. */
function below(page: string, above: string): boolean {
  const [a, b] = [new URL(page), new URL(above)]
  const segments = (url: URL) => url.pathname.split('/').filter((s) => s !== '')
  const [inside, outside] = [segments(a), segments(b)]
  if (a.host !== b.host) return false
  if (outside.length === 0) return inside.length === 0
  return outside.every((s, i) => inside[i] === s)
}

async function page(t: Transport, url: string, host: string, now: number): Promise<string> {
  async function actorOf(link: string): Promise<{ [name: string]: any } | undefined> {
    if (!plainUrl(link)) return undefined
    const got = await answered(get(t, link, 'same host', 'application/activity+json'), now)
    const value = got instanceof Refused ? undefined : jsonOf(got)
    const isActor = isObject(value) && typeof value.preferredUsername === 'string' && typeof value.id === 'string'
    return isActor && sameUrl(value.id, link) ? value : undefined
  }
  const named = (user: string, at: string) => canonical(`ap:${user.toLowerCase()}@${at}`)
  const asked = `https://${host}/.well-known/webfinger?resource=${encodeURIComponent(url)}`
  const finger = await answered(get(t, asked, 'public'), now)
  const said = finger instanceof Refused ? undefined : jsonOf(finger, true)
  if (isObject(said)) {
    const subject =
      typeof said.subject === 'string' && said.subject.startsWith('acct:') ? readName(said.subject) : undefined
    if (subject?.host === host) return named(subject.user, host)
    const links: any[] = Array.isArray(said.links) ? said.links : []
    const self = links.find((l) => isObject(l) && l.rel === 'self' && isActivity(l.type))?.href
    const actor = plainUrl(self)?.host === host ? await actorOf(self) : undefined
    if (actor) return named(actor.preferredUsername, host)
  }
  const got = await answered(get(t, url, 'public'), now)
  const link = got instanceof Refused ? undefined : alternate(bodyText(got), got.url)
  const actor = link === undefined ? undefined : await actorOf(link)
  if (!actor || got instanceof Refused) return refuse('identity_refused', host)
  const at = new URL(link!).host
  const urls = [actor.id, actor.url].flat().filter((u) => plainUrl(u)?.host === at)
  const covers = urls.some((u) => below(url, u) || below(got.url, u))
  return covers ? named(actor.preferredUsername, at) : refuse('identity_refused', host)
}
