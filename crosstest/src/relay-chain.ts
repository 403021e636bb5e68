// Chains on nostr relays (SPEC.md): the algorithm `relay_chain`.

import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { tried } from './channel.ts'
import { Chain } from './chain.ts'
import { commitment, readLine } from './event.ts'
import { keyBytes, toNpub } from './identity.ts'
import { attempt, Refused } from './json.ts'
import type { Filter, NostrEvent } from './nostr-event.ts'
import type { Transport } from './transport.ts'

const KIND = 30539
const MAX_ROUNDS = 16
const MAX_BRANCHES = 16

type Line = ReturnType<typeof readLine>
/** What a relay has of a chain; `code` is why it failed. */
export type RelayAnswer = { chains: Chain[]; answer: 'served' | 'partial' | 'absent' | 'failed'; code?: string }

/** KEZ-SRC-13: the relay's URL, and the key that carries the chain there. */
export function carrierOf(source: string): { url: string; carrier?: string } {
  const query = source.indexOf('?')
  if (query < 0) return { url: source }
  const pair = source
    .slice(query + 1)
    .split('&')
    .find((p) => p.startsWith('carrier='))
  const hex = pair?.slice('carrier='.length) ?? ''
  const valid =
    /^[0-9a-f]{64}$/.test(hex) && !(attempt(() => keyBytes(`nostr:${toNpub(hexToBytes(hex))}`)) instanceof Refused)
  return valid ? { url: source.slice(0, query), carrier: hex } : { url: source }
}

/** The line of this primary's chain that an event carries. */
function lineOf(event: NostrEvent, primary: string): Line | undefined {
  if (event.kind !== KIND) return undefined
  const line = attempt(() => readLine(utf8ToBytes(event.content)))
  return line instanceof Refused || line.event.chain !== primary ? undefined : line
}

/** `put together`: the chains that the carried lines give, each by itself. */
export function putTogether(events: NostrEvent[], primary: string, clock: number): Chain[] {
  const lines = new Map<string, Line>()
  for (const event of events) {
    const line = lineOf(event, primary)
    if (line !== undefined) lines.set(line.event.id, line)
  }
  const whole: Chain[] = []
  let branches = [new Chain(primary)]
  while (branches.length > 0) {
    const grown: { chain: Chain; settles: boolean }[] = []
    for (const branch of branches) {
      const last = branch.head?.id ?? null
      let grew = false
      for (const line of lines.values()) {
        if (line.event.prev !== last) continue
        const chain = branch.first(branch.events.length)
        if (attempt(() => chain.append(line, clock)) instanceof Refused) continue
        grew = true
        const { op } = line.event
        grown.push({ chain, settles: op.type === 'rotate' && branch.next === commitment(op.to) })
      }
      if (!grew && branch.events.length > 0) whole.push(branch)
    }
    grown.sort((a, b) => Number(b.settles) - Number(a.settles) || (a.chain.head!.id < b.chain.head!.id ? -1 : 1))
    branches = grown.slice(0, Math.max(0, MAX_BRANCHES - whole.length)).map((g) => g.chain)
  }
  return whole
}

export async function relayChain(
  t: Transport,
  url: string,
  primary: string,
  carrier: string | undefined,
  clock: number,
): Promise<RelayAnswer & { events: NostrEvent[] }> {
  const own = primary.startsWith('nostr:') ? bytesToHex(keyBytes(primary)) : undefined
  const mine = (authors: string[]): Filter => ({ authors, kinds: [KIND], '#i': [primary], limit: 500 })
  let authors = [own, carrier].filter((a) => a !== undefined)
  const asked = new Set(authors)
  const filters: Filter[] = []
  if (authors.length > 0) filters.push(mine(authors))
  if (own !== undefined) filters.push({ authors: [own], kinds: [10002], limit: 1 })
  filters.push({ kinds: [KIND], '#i': [primary], limit: 500 })
  const deciding = authors.length > 0 ? 0 : filters.length - 1
  let next = filters
  const events: NostrEvent[] = []
  let failure: { code: string; came: boolean } | undefined
  let some = false
  for (let round = 1; ; round += 1) {
    const got = await tried(t.relay(url, next))
    if (got instanceof Refused) {
      failure ??= { code: got.code, came: false }
    } else {
      events.push(...got.flatMap((r) => r.events))
      const decides = got[round === 1 ? deciding : 0]
      some ||= decides?.events.some((event) => lineOf(event, primary) !== undefined) ?? false
      if (decides?.failed) failure ??= { code: decides.failed.code, came: decides.came }
    }
    const chains = putTogether(events, primary, clock)
    const keys = chains.flatMap((c) => c.periods.map((p) => p.key)).filter((k) => k.startsWith('nostr:'))
    authors = [...new Set(keys.map((k) => bytesToHex(keyBytes(k))))].filter((a) => !asked.has(a))
    if (authors.length > 0 && round <= MAX_ROUNDS) {
      for (const a of authors) asked.add(a)
      next = [mine(authors)]
      continue
    }
    if (authors.length > 0) return { chains: [], answer: 'failed', code: 'search_incomplete', events }
    if (chains.length > 0) return { chains, answer: failure ? 'partial' : 'served', code: failure?.code, events }
    // The relay has some of the chain, without its first events.
    if (some) return { chains, answer: 'failed', code: failure?.code ?? 'chain_unreachable', events }
    if (!failure) return { chains, answer: 'absent', events }
    // A relay that does not filter sends other events, and then ends: it has no such chain.
    const absent = failure.code !== 'search_incomplete' && failure.came
    return { chains, answer: absent ? 'absent' : 'failed', code: failure.code, events }
  }
}
