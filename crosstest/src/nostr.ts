// Channel `nostr` (SPEC.md): the key's proof event and the `about` of its profile.

import { bytesToHex } from '@noble/hashes/utils.js'
import { type Context, endWith, type Lookup, tried } from './channel.ts'
import { keyBytes } from './identity.ts'
import { foreign, isObject, Refused } from './json.ts'
import { type Filter, isGenuine, type NostrEvent, tagsOf } from './nostr-event.ts'
import type { FilterResult } from './relay.ts'

const KIND = 30539
const MAX_LISTED = 3
const MAX_AHEAD = 15 * 60

/** The relays for writing that the newest relay list of a key names (NIP-65). */
export function listedRelays(events: NostrEvent[], known: string[]): string[] {
  const list = newest(events.filter((e) => e.kind === 10002))
  const urls = (list ? tagsOf(list) : [])
    .filter(([name, url, mark]) => name === 'r' && url !== undefined && (mark === undefined || mark === 'write'))
    .map(([, url]) => url.replace(/\/$/, ''))
    .filter((url) => url.startsWith('wss://') && URL.canParse(url))
  const fresh = [...new Set(urls)].filter((url) => !known.some((k) => k.replace(/\/$/, '') === url))
  return fresh.slice(0, MAX_LISTED)
}

/** KEZ-NOS-04 */
export function newest(events: NostrEvent[]): NostrEvent | undefined {
  return events.toSorted((a, b) => b.created_at - a.created_at || (a.id < b.id ? -1 : 1))[0]
}

/** KEZ-NOS-05 */
function hasEnded(event: NostrEvent, deletions: NostrEvent[], address: string, now: number): boolean {
  const expiration = tagsOf(event).find(([name]) => name === 'expiration')?.[1]
  if (expiration !== undefined && /^[0-9]+$/.test(expiration) && Number(expiration) <= now) return true
  return deletions.some((deletion) =>
    tagsOf(deletion).some(
      ([name, value]) =>
        (name === 'e' && value === event.id) ||
        (name === 'a' && value === address && event.created_at <= deletion.created_at),
    ),
  )
}

export async function nostr(value: string, { t, now, relays }: Context, found: Lookup): Promise<void> {
  const key = bytesToHex(keyBytes(`nostr:${value}`))
  if (relays.length === 0) endWith('connect_failed', 'no relay is configured')
  found.place = { url: relays[0] }
  const filters: Filter[] = [
    { authors: [key], kinds: [KIND], '#d': ['kez'], limit: 1 },
    { authors: [key], kinds: [0], limit: 1 },
    { authors: [key], kinds: [10002], limit: 1 },
    { authors: [key], kinds: [5], '#a': [`${KIND}:${key}:kez`, `0:${key}:`], limit: 500 },
  ]
  const events: NostrEvent[] = []
  const places = new Map<string, string>()
  const take = (url: string, results: FilterResult[], counted: number) => {
    for (const [n, { events: came, failed }] of results.entries()) {
      if (failed && n < counted) found.side(failed.code, failed.detail, undefined, { url }) // KEZ-NOS-03
      for (const event of came) {
        // KEZ-NOS-02
        if (event.pubkey !== key || event.created_at > now + MAX_AHEAD || !isGenuine(event)) continue
        if (!places.has(event.id)) events.push(event)
        places.set(event.id, places.get(event.id) ?? url)
      }
    }
  }
  const answeredRelays: string[] = []
  async function ask(urls: string[], filters: Filter[], counted: number): Promise<void> {
    const all = await Promise.all(urls.map((url) => tried(t.relay(url, filters))))
    for (const [i, got] of all.entries()) {
      if (got instanceof Refused) {
        if (counted > 0) found.side(got.code, got.message, undefined, { url: urls[i] })
      } else {
        if (counted > 0) answeredRelays.push(urls[i])
        found.via = 'direct'
        take(urls[i], got, counted)
      }
    }
  }
  await ask(relays, filters, 3)
  const shown = events.filter((e) => e.kind === KIND || e.kind === 0).map((e) => e.id)
  const asked = [...answeredRelays]
  await ask(listedRelays(events, relays), filters, 3)
  if (shown.length > 0) await ask(asked, [{ authors: [key], kinds: [5], '#e': shown, limit: 500 }], 0)

  const deletions = events.filter((e) => e.kind === 5)
  const isProof = (e: NostrEvent) => e.kind === KIND && tagsOf(e).some(([n, v]) => n === 'd' && v === 'kez')
  const proof = newest(events.filter(isProof))
  const profile = newest(events.filter((e) => e.kind === 0))
  if (proof && !hasEnded(proof, deletions, `${KIND}:${key}:kez`, now)) {
    found.texts.push({ text: proof.content, place: { url: places.get(proof.id)! }, via: 'direct' })
  }
  if (profile && !hasEnded(profile, deletions, `0:${key}:`, now)) {
    const about = foreign(profile.content)
    if (isObject(about) && typeof about.about === 'string') {
      found.texts.push({ text: about.about, place: { url: places.get(profile.id)! }, via: 'direct' })
    }
  }
}
