// Where chains come from, and what follows from the answers (SPEC.md, "Sources"): the algorithm `gather`.

import { utf8ToBytes } from '@noble/hashes/utils.js'
import { tried } from './channel.ts'
import { Chain } from './chain.ts'
import { merge, readFork } from './fork.ts'
import { attempt, Refused } from './json.ts'
import type { History } from './judge.ts'
import { believe, lastEvent, type LogPolicy, type Memory, splitProof } from './log.ts'
import { listedRelays } from './nostr.ts'
import type { NostrEvent } from './nostr-event.ts'
import { carrierOf, type RelayAnswer, relayChain } from './relay-chain.ts'
import { bodyText, type Fetched, get, type Transport } from './transport.ts'

const MAX_BUNDLE = 32 * 1024 * 1024
const MAX_BODY = MAX_BUNDLE + 256 * 1024
const MAX_FORK = 64 * 1024 * 1024

export type Config = {
  sources: string[]
  /** Sigchain servers, and the keys of their logs where the user names them. */
  servers: { base: string; logKey?: string }[]
  relays: string[]
  /** Chains that the user hands over. */
  chains: string[]
  witnesses?: string[]
}

type Source = { url: string; kind: 'named' | 'well-known' | 'server' | 'relay' | 'quorum' }
type Answer = {
  source: Source
  what: 'served' | 'damaged' | 'partial' | 'absent' | 'failed' | 'unasked'
  chains: Chain[]
  code?: string
  /** Set where a server's log is refused: the copy is doubted. */
  log?: string
}

/** What a reader knows between requests. */
export class Memories {
  chains = new Map<string, Chain>()
  logs = new Map<string, Memory>()

  log(server: string): Memory {
    const memory = this.logs.get(server) ?? { passed: new Set() }
    this.logs.set(server, memory)
    return memory
  }
}

export type Gathering = {
  t: Transport
  config: Config
  memories: Memories
  primary: string
  claimSources: string[]
  subject?: string
  clock: number
  now: number
}

/** The sources of a primary that are known at the start; equal URLs once. */
function sourcesOf({ config, memories, primary, claimSources, subject }: Gathering): Source[] {
  const found: Source[] = []
  const add = (url: string, kind: Source['kind']) => {
    if (!found.some((s) => s.url === url)) found.push({ url, kind })
  }
  const path = `/v1/sigchains/${primary}`
  for (const url of [...config.sources, ...claimSources]) {
    const isServer = url.startsWith('https:') && URL.canParse(url) && new URL(url).pathname === path
    add(url, url.startsWith('wss:') ? 'relay' : isServer ? 'server' : 'named')
  }
  for (const { base } of config.servers) add(`${base.replace(/\/$/, '')}${path}`, 'server')
  const listed = [...(memories.chains.get(primary)?.listings.values() ?? [])].map((l) => l.subject).reverse()
  const domains = new Set([subject ?? '', ...listed].filter((s) => s.startsWith('dns:')))
  for (const s of [...domains].slice(0, 16)) {
    add(`https://${s.slice(4)}/.well-known/kez/${primary.replace(':', '/')}.jsonl`, 'well-known')
  }
  if (primary.startsWith('nostr:')) for (const url of config.relays) add(url, 'quorum')
  return found
}

/** What the bytes of a bundle give. */
function readBundle(source: Source, bundle: string, { primary, clock }: Gathering): Answer {
  const bytes = utf8ToBytes(bundle)
  if (bytes.length > MAX_BUNDLE) return { source, what: 'failed', chains: [], code: 'too_large' }
  const { chain, error } = Chain.prefix(bytes, clock, primary)
  if (!error) return { source, what: 'served', chains: [chain!] }
  const some = chain !== undefined && chain.events.length > 0
  return { source, what: some ? 'damaged' : 'failed', chains: some ? [chain] : [], code: error.code }
}

async function fetchBundle(source: Source, g: Gathering): Promise<Answer> {
  const server = source.kind === 'server' ? source.url.slice(0, source.url.lastIndexOf('/v1/sigchains/')) : undefined
  const memory = server === undefined ? undefined : g.memories.log(server)
  const size = memory?.largest?.size ?? 0
  const url = server === undefined ? source.url : `${source.url}?log=${size}`
  const got = await tried(get(g.t, url, 'public', '*/*', MAX_BODY))
  const failed = (code: string): Answer => ({ source, what: 'failed', chains: [], code })
  if (got instanceof Refused) {
    if (got.code === 'offline') return { source, what: 'unasked', chains: [] }
    const none = source.kind === 'well-known' && got.code === 'host_unknown'
    return none ? { source, what: 'absent', chains: [] } : failed(got.code)
  }
  if (got.status === 404 || got.status === 410) return { source, what: 'absent', chains: [] }
  if (got.status !== 200) return failed('http_status')
  if (memory === undefined) return readBundle(source, bodyText(got), g)
  const { bundle, line } = splitProof(bodyText(got))
  const answer = readBundle(source, bundle, g)
  const head = lastEvent(bundle)
  const logKey = g.config.servers.find(({ base }) => base.replace(/\/$/, '') === server)?.logKey
  const policy: LogPolicy = { key: logKey, witnesses: g.config.witnesses }
  const context = { t: g.t, server: server!, size, cached: false, memory, policy }
  const believed = await tried(believe(line, head, context))
  if (believed instanceof Refused) answer.log = believed.code // KEZ-LOG-07
  return answer
}

/** Step 2: a server's evidence of a fork. */
async function fetchFork(source: Source, g: Gathering): Promise<{ branches: Chain[]; error?: Refused }> {
  const got: Fetched | Refused = await tried(get(g.t, `${source.url}/fork`, 'same host', '*/*', MAX_FORK))
  if (got instanceof Refused) return { branches: [], error: got.code === 'offline' ? undefined : got }
  if ([404, 405, 410].includes(got.status)) return { branches: [] }
  if (got.status !== 200) return { branches: [], error: new Refused('http_status') }
  const all: Chain[] = []
  let error: Refused | undefined
  for (const line of lines(got.body)) {
    const branches = all.length < 2 * 64 ? attempt(() => readFork(line, g.clock)) : new Refused('too_large')
    if (branches instanceof Refused) return { branches: all, error: branches }
    if (branches[0].name === g.primary) all.push(...branches)
    else error = new Refused('fork_refused', 'another chain')
  }
  return { branches: all, error }
}

function* lines(body: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start === 0 || start < body.length; ) {
    const end = body.indexOf(10, start)
    yield body.subarray(start, end < 0 ? body.length : end)
    start = end < 0 ? body.length : end + 1
    if (start === 0) return
  }
}

async function askRelays(relays: Source[], g: Gathering): Promise<{ answers: Answer[]; events: NostrEvent[] }> {
  const events: NostrEvent[] = []
  const answers = await Promise.all(
    relays.map(async (source): Promise<Answer> => {
      const { url, carrier } = carrierOf(source.url)
      const got: RelayAnswer & { events: NostrEvent[] } = await relayChain(g.t, url, g.primary, carrier, g.clock)
      events.push(...got.events)
      const what = got.answer === 'failed' && got.code === 'offline' ? 'unasked' : got.answer
      return { source, what, chains: got.chains, code: got.code }
    }),
  )
  return { answers, events }
}

/** Whether no chain exists, as far as the sources can say ("Absence is established"). */
function isAbsent(answers: Answer[]): boolean {
  const asked = answers.filter((a) => a.what !== 'unasked')
  const quorum = asked.filter((a) => a.source.kind === 'quorum')
  const named = asked.filter((a) => a.source.kind !== 'quorum')
  if (asked.length === 0 || asked.some((a) => a.chains.length > 0)) return false
  if (named.some((a) => a.what !== 'absent')) return false
  return quorum.length === 0 || quorum.filter((a) => a.what === 'absent').length * 2 > quorum.length
}

export async function gather(g: Gathering): Promise<History> {
  const { primary, clock, now, memories } = g
  const sources = sourcesOf(g)
  const isRelay = (s: Source) => s.kind === 'relay' || s.kind === 'quorum'
  const [bundles, relays, forks] = await Promise.all([
    Promise.all(sources.filter((s) => !isRelay(s)).map((s) => fetchBundle(s, g))),
    askRelays(sources.filter(isRelay), g),
    Promise.all(
      sources.filter((s) => s.kind === 'server').map(async (source) => ({ source, got: await fetchFork(source, g) })),
    ),
  ])
  const answers = [...bundles, ...relays.answers]
  if (primary.startsWith('nostr:')) {
    const known = sources.map((s) => carrierOf(s.url).url)
    const listed = listedRelays(relays.events, known).map((url): Source => ({ url, kind: 'quorum' }))
    answers.push(...(await askRelays(listed, g)).answers)
  }

  const whole: Chain[] = []
  const damaged: Chain[] = []
  const partial: Chain[] = []
  const doubted: Chain[] = []
  for (const given of g.config.chains) {
    const chain = attempt(() => Chain.replay(utf8ToBytes(given), clock, primary))
    if (!(chain instanceof Refused)) whole.push(chain)
  }
  for (const answer of answers) {
    if (answer.log !== undefined) doubted.push(...answer.chains)
    else if (answer.what === 'served') whole.push(...answer.chains)
    else if (answer.what === 'damaged') damaged.push(...answer.chains)
    else if (answer.what === 'partial') partial.push(...answer.chains)
  }
  for (const { source, got } of forks) {
    whole.push(...got.branches)
    const server = answers.find((a) => a.source === source)!
    if (got.error && server.what === 'absent') Object.assign(server, { what: 'failed', code: got.error.code })
  }
  const refusal = answers.find((a) => a.log !== undefined)?.log
  const remembered = memories.chains.get(primary)
  const unasked = answers.every((a) => a.what === 'unasked')
  const absent = isAbsent(answers) && whole.length === 0

  let emptied = false
  const cut = (chains: Chain[]) => {
    const all = now < clock ? chains.map((c) => c.cutAt(now)) : chains
    emptied ||= all.some((c) => c.events.length === 0)
    return all.filter((c) => c.events.length > 0)
  }
  const W = cut(whole)
  const P = cut([...damaged, ...partial])
  const D = cut(doubted)
  const [R] = cut(remembered ? [remembered] : [])
  if (W.length + P.length + D.length === 0 && R === undefined) {
    if (absent || emptied) return { kind: 'absent' }
    if (unasked) return { kind: 'unchecked' }
    const cause = answers.find((a) => a.what === 'failed')
    return { kind: 'unknown', code: refusal ?? 'chain_unreachable', detail: `${cause?.source.url}: ${cause?.code}` }
  }
  const merged = merge([...W, ...P, ...D, ...(R ? [R] : [])])
  if ('fork' in merged) return { kind: 'forked', branches: merged.branches, seq: merged.fork }
  const { chain, settled } = merged

  const shorter = [...W, ...P].every((c) => R !== undefined && c.events.length < R.events.length)
  const nothing = W.length + P.length + D.length === 0
  const onlyRemembered = nothing && R !== undefined
  const continued = (c: Chain) => whole.some((w) => w.beginsWith(c) && w.events.length > c.events.length)
  let doubt: string | undefined
  if (R && !settled && ((W.length + P.length > 0 && shorter) || (nothing && absent))) doubt = 'rollback'
  else if (W.length + P.length === 0 && D.length > 0) doubt = refusal
  else if (damaged.some((c) => !continued(c))) doubt = 'chain_damaged'
  else if (partial.some((c) => !whole.some((w) => w.beginsWith(c)))) doubt = 'chain_unreachable'
  else if (onlyRemembered && !unasked) doubt = 'chain_unreachable'

  if (now >= clock) memories.chains.set(primary, chain)
  const refused = refusal !== undefined && W.length > 0
  return { kind: 'known', chain, doubt, unchecked: onlyRemembered && unasked, settled, refused }
}
