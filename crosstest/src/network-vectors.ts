// The vectors that need a network: it answers from what the vector has recorded. What has no recorded answer does
// not exist: a host without address, a name without records, a relay that cannot be reached.

import { hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { Chain } from './chain.ts'
import { findProofs } from './encoding.ts'
import { identity } from './graph.ts'
import { parseInput } from './input.ts'
import { Refused, refuse } from './json.ts'
import type { History } from './judge.ts'
import { believe, lastEvent, splitProof } from './log.ts'
import { type Filter, matches } from './nostr-event.ts'
import { time } from './object.ts'
import { resolve } from './resolve.ts'
import { type Config, gather, Memories } from './sources.ts'
import type { HttpAnswer, Transport } from './transport.ts'
import { type Reader, verify } from './verify.ts'

const CHANNELS = {
  githubApi: 'https://api.github.com',
  plc: 'https://plc.directory',
  appview: 'https://public.api.bsky.app',
}

export type Outcome = { code: string; output?: unknown; reports?: unknown }

function httpAnswer(answer: any): HttpAnswer {
  const { status, headers = {}, body, json, redirected_to: url, via } = answer
  const text = json === undefined ? (body ?? '') : JSON.stringify(json)
  const bytes = typeof text === 'string' ? utf8ToBytes(text) : hexToBytes(text.hex)
  return { status, headers, body: bytes, url, cached: via === 'cache' }
}

/** A relay fails a filter whose members equal those of a recorded failure; `null` is a member that it has not. */
function failureOf(failed: any[], filter: Filter): { code: string; detail: string } | undefined {
  const same = (a: any, b: any) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null)
  const found = failed.find((f) => Object.entries(f.filter).every(([name, value]) => same(value, filter[name])))
  return found && { code: found.code, detail: 'recorded' }
}

/** Parameters count as a set, after percent-decoding. */
function samePlace(url: string): string {
  const at = url.indexOf('?')
  if (at < 0) return url
  const parameters = url
    .slice(at + 1)
    .split('&')
    .map(decodeURIComponent)
    .sort()
  return `${url.slice(0, at)}?${parameters.join('&')}`
}

function recorded(recordedAnswers: { [url: string]: any }): Transport {
  const answers = new Map(Object.entries(recordedAnswers).map(([url, a]) => [samePlace(url), [a].flat()]))
  const answerOf = (url: string) => {
    const list = answers.get(samePlace(url)) ?? refuse('host_unknown', `no answer is recorded: ${url}`)
    const answer = list.length > 1 ? list.shift() : list[0]
    // Time passes when nothing else happens: what never answers has timed out.
    if (answer.fails === 'never') refuse('timeout', 'recorded')
    return answer.fails === undefined ? answer : refuse(answer.fails, 'recorded')
  }
  return {
    http: async (url) => httpAnswer(answerOf(url)),
    txt: async (name) => {
      const url = `dns:${name}?type=TXT`
      if (!answers.has(url)) return { rcode: 3, records: [], ad: false }
      const { rcode, records = [], authentic = false, ttl } = answerOf(url)
      return { rcode, records, ad: authentic, ttl }
    },
    relay: async (url, filters) => {
      const { events = [], failed = [] } = answerOf(url)
      const newestFirst = events.toSorted((a: any, b: any) => b.created_at - a.created_at)
      return filters.map((filter) => ({
        events: newestFirst.filter((e: any) => matches(e, filter)).slice(0, filter.limit),
        came: events.length > 0,
        failed: failureOf(failed, filter),
      }))
    },
  }
}

function configOf({ sources = [], servers = [], relays = [], chains = [], witnesses }: any): Config {
  const keyed = servers.map((server: string) => {
    const [base, logKey] = server.split('#')
    return { base, logKey }
  })
  return { sources, servers: keyed, relays, chains, witnesses }
}

function readerOf(input: any, clock: number): Reader {
  const now = input.at === undefined || input.at === null ? clock : time(input.at)
  const [t, config] = [recorded(input.answers), configOf(input)]
  return { t, config, memories: new Memories(), channels: CHANNELS, clock, now }
}

function shown(history: History): any {
  switch (history.kind) {
    case 'known': {
      const { chain, doubt, refused, settled, unchecked } = history
      return { doubt: doubt ?? null, head: chain.head, history: 'known', refused, settled, unchecked }
    }
    case 'forked':
      return { history: 'forked', seq: history.seq }
    case 'unknown':
      return { code: history.code, history: 'unknown' }
    default:
      return { history: history.kind }
  }
}

async function sources(input: any, clock: number): Promise<unknown> {
  const { t, config, memories, now } = readerOf(input, clock)
  const { primary, subject, claims = [], remembered } = input
  if (remembered !== undefined) memories.chains.set(primary, Chain.replay(utf8ToBytes(remembered), clock, primary))
  const claimSources = claims.flatMap((text: string) =>
    findProofs(text).candidates.flatMap(({ proof }) =>
      typeof proof === 'object' && 'sources' in proof ? proof.sources : [],
    ),
  )
  const history = await gather({ t, config, memories, primary, claimSources, subject, clock, now })
  return { ...shown(history), remembered: memories.chains.get(primary)?.head ?? null }
}

/** Reports and graphs of vectors have no `detail`. */
const withoutDetail = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (name, v) => (name === 'detail' ? undefined : v)))

async function log({ answers, server, consistency = {}, key, witnesses }: any): Promise<void> {
  const memory = new Memories().log(server)
  const urls = Object.entries(consistency).map(([query, a]) => [`${server}/v1/log/consistency?${query}`, a])
  const t = recorded(Object.fromEntries(urls))
  for (const { body, size, via } of answers) {
    const { bundle, line } = splitProof(body)
    const cached = via === 'cache'
    const policy = { key, witnesses }
    await believe(line, lastEvent(bundle), { t, server, size: cached ? undefined : size, cached, memory, policy })
  }
}

export const NETWORK = ['parse-input', 'resolve', 'sources', 'channel', 'verify', 'graph', 'log']

async function run(kind: string, input: any, clock: number): Promise<Outcome> {
  switch (kind) {
    case 'parse-input': {
      const read = parseInput(input)
      if (read.kind === 'account') {
        return { code: 'ok', output: { account: read.identity, spelling: read.spelling ?? null } }
      }
      const { kind, ...rest } = read
      return { code: 'ok', output: { [kind]: rest } }
    }
    case 'resolve': {
      const { identity, protocol } = await resolve(recorded(input.answers), parseInput(input.typed), clock)
      return { code: 'ok', output: { identity, protocol } }
    }
    case 'sources':
      return { code: 'ok', output: await sources(input, clock) }
    case 'channel':
    case 'verify': {
      const reports = await verify(readerOf(input, clock), input)
      return { code: reports[0].reason ?? 'ok', reports }
    }
    case 'graph':
      return { code: 'ok', output: withoutDetail(await identity(readerOf(input, clock), input.subject)) }
    default:
      await log(input)
      return { code: 'ok' }
  }
}

export async function runNetwork(kind: string, input: any, clock: number): Promise<Outcome> {
  try {
    return await run(kind, input, clock)
  } catch (error) {
    if (error instanceof Refused) return { code: error.code }
    throw error
  }
}
