// Runs the test vectors (SPEC.md, "Test vectors"). It prints how many of each kind passed, the failures, and one
// closing line.

import { hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Chain } from './chain.ts'
import * as chat from './chat.ts'
import { findProofs, fromCompact, fromJson, fromPointer, type Found, parseCanonical } from './encoding.ts'
import { evidence, merge, readFork } from './fork.ts'
import { canonical } from './identity.ts'
import { input } from './input.ts'
import { attempt, parse, Refused } from './json.ts'
import { emptyReport, type History, judge } from './judge.ts'
import { NETWORK, runNetwork } from './network-vectors.ts'
import { jcs, time } from './object.ts'

type Vector = {
  kind: string
  now: string
  input: any
  expect: string | string[]
  output?: unknown
  report?: any
  reports?: any[]
}
type Outcome = { code: string; output?: unknown; report?: unknown; reports?: any }

/** What `gather` would have found, as a vector says it. */
function history({ history, doubt, unchecked, settled, refused }: any, now: number): History {
  const chain = (bundle: string) => Chain.replay(utf8ToBytes(bundle), now)
  if (Array.isArray(history)) {
    const merged = merge(history.map(chain))
    if ('fork' in merged) return { kind: 'forked', branches: merged.branches, seq: merged.fork }
    return { kind: 'known', chain: merged.chain, settled: merged.settled, unchecked: false, refused: false }
  }
  if (history === 'absent' || history === 'unchecked') return { kind: history }
  if (history === 'unknown') return { kind: 'unknown', code: 'chain_unreachable' }
  return { kind: 'known', chain: chain(history), doubt, unchecked: !!unchecked, settled: !!settled, refused: !!refused }
}

function judged(given: any, now: number): Outcome {
  const [found] = findProofs(given.proof).candidates
  if (found.proof instanceof Refused) throw found.proof
  const report = emptyReport(given.subject, now)
  report.account = given.account
  judge(report, found.form, found.proof, history(given, now), now)
  return { code: report.reason ?? 'ok', report }
}

function shown({ form, proof }: Found): unknown {
  if (proof instanceof Refused) return { code: proof.code, encoding: form }
  return typeof proof === 'string' ? { encoding: form, primary: proof } : { claim: proof.id, encoding: form }
}

function merged({ copies, at }: any, now: number): unknown {
  let chains: Chain[] = copies.map((bundle: string) => Chain.replay(utf8ToBytes(bundle), now))
  if (at !== null) chains = chains.map((c) => c.cutAt(time(at))).filter((c) => c.events.length > 0)
  const [shown, ...others] = orders(chains).map(mergedInOrder)
  if (others.some((other) => !same(shown, other))) throw new Error('the order of the copies counts')
  return shown
}

const orders = <T>(items: T[]): T[][] =>
  items.length < 2 ? [items] : items.flatMap((x, i) => orders(items.toSpliced(i, 1)).map((rest) => [x, ...rest]))

function mergedInOrder(chains: Chain[]): any {
  const result = merge(chains)
  if ('chain' in result) return { head: result.chain.head, merge: result.settled ? 'settled' : 'same' }
  return { branches: evidence(result.fork, result.branches).map((b) => b.head), merge: 'fork', seq: result.fork }
}

/** The object, written again, has the same bytes. */
function forkObject(bytes: Uint8Array, now: number): string {
  const branches = readFork(bytes, now)
  const merged = merge(branches)
  const seq = branches[0].events.findIndex((e, i) => e.id !== branches[1].events[i].id) + 1
  const lines = (chain: Chain, from: number) => chain.events.slice(from - 1).map((e) => JSON.parse(e.line))
  const again = jcs({ kez: 1, type: 'fork', a: lines(branches[0], 1), b: lines(branches[1], seq) })
  if (again !== new TextDecoder().decode(bytes)) throw new Error('another fork object')
  return 'chain' in merged ? 'settled' : 'open'
}

function run(vector: Vector): unknown {
  const now = time(vector.now)
  const text = String(vector.input)
  const bytes = vector.input.hex === undefined ? utf8ToBytes(text) : hexToBytes(vector.input.hex)
  switch (vector.kind) {
    case 'json':
      return jcs(parse(bytes))
    case 'canonical':
      return jcs(parseCanonical(bytes))
    case 'identity':
      return canonical(text)
    case 'input':
      return input(text)
    case 'claim':
      return fromJson(bytes).id
    case 'compact':
      return fromCompact(text).id
    case 'pointer':
      return fromPointer(text)
    case 'search': {
      const { candidates, incomplete } = findProofs(text)
      return { candidates: candidates.map(shown), incomplete }
    }
    case 'bundle': {
      const chain = Chain.replay(bytes, now)
      if (chain.bundle() !== text) throw new Error('another bundle')
      return `${chain.events.length} ${chain.events.at(-1)!.id}`
    }
    case 'prefix': {
      const { chain, error } = Chain.prefix(utf8ToBytes(vector.input.bundle), now, vector.input.primary)
      const events = chain?.events.length ?? 0
      if (error && events === 0) throw error
      return { code: error?.code ?? null, events }
    }
    case 'fork':
      return forkObject(bytes, now)
    case 'merge':
      return merged(vector.input, now)
    default:
      throw new Error(`an unknown kind: ${vector.kind}`)
  }
}

async function outcome(vector: Vector, isChat: boolean): Promise<Outcome> {
  if (NETWORK.includes(vector.kind)) return runNetwork(vector.kind, vector.input, time(vector.now))
  const got = attempt((): Outcome => {
    if (isChat) return { code: 'ok', output: chat.run(vector.kind, vector.input, time(vector.now)) }
    if (vector.kind === 'judge') return judged(vector.input, time(vector.now))
    return { code: 'ok', output: run(vector) }
  })
  return got instanceof Refused ? { code: got.code } : got
}

/** The members in which a report differs from the wanted one. */
function differences(wanted: any, got: any): string[] {
  return Object.keys(wanted ?? {}).filter((name) => !same(wanted[name], plain(got?.[name])))
}

/** A value of a vector is the value itself, or `{"any": [...]}`: one of several. */
function same(wanted: any, got: any): boolean {
  if (Array.isArray(wanted?.any) && Object.keys(wanted).length === 1) return wanted.any.some((w: any) => same(w, got))
  if (wanted === null || got === null || typeof wanted !== 'object' || typeof got !== 'object') return wanted === got
  const names = new Set([...Object.keys(wanted), ...Object.keys(got)])
  return Array.isArray(wanted) === Array.isArray(got) && [...names].every((name) => same(wanted[name], got[name]))
}

const plain = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

const directory = process.argv[2]
const counts = new Map<string, { passed: number; failed: number }>()
for (const name of readdirSync(directory, { recursive: true })
  .map(String)
  .filter((n) => n.endsWith('.json'))
  .sort()) {
  const vector: Vector = JSON.parse(readFileSync(join(directory, name), 'utf8'))
  const isChat = dirname(name) === 'chat'
  let got: Outcome
  try {
    got = await outcome(vector, isChat)
  } catch (error) {
    got = { code: `a defect: ${(error as Error).stack}` }
  }
  const kind = isChat ? 'chat' : vector.kind
  const count = counts.get(kind) ?? { passed: 0, failed: 0 }
  counts.set(kind, count)
  const problems: string[] = []
  if (![vector.expect].flat().includes(got.code)) problems.push(`wanted ${vector.expect}, got ${got.code}`)
  else if (vector.output !== undefined && got.code === 'ok' && !same(vector.output, plain(got.output))) {
    problems.push(`wanted ${JSON.stringify(vector.output)}, got ${JSON.stringify(got.output)}`)
  }
  const wanted = vector.reports ?? (vector.report ? [vector.report] : [])
  const given: any[] = got.reports ?? [got.report]
  if (wanted.length > 0 && wanted.length !== given.length)
    problems.push(`wanted ${wanted.length} reports, got ${given.length}`)
  for (const [i, report] of wanted.entries()) {
    for (const member of differences(report, given[i])) {
      const both = [report[member], given[i]?.[member]].map((v) => JSON.stringify(v))
      problems.push(`${i} ${member}: wanted ${both[0]}, got ${both[1]}`)
    }
  }
  if (problems.length === 0) count.passed += 1
  else {
    count.failed += 1
    console.log(`${name}: ${problems.join('; ')}`)
  }
}
const all = [...counts].sort(([a], [b]) => (a < b ? -1 : 1))
for (const [kind, { passed, failed }] of all) console.log(`  ${kind}: ${passed} of ${passed + failed}`)
const sum = (what: 'passed' | 'failed') => all.reduce((n, [, count]) => n + count[what], 0)
console.log(`crosstest: ${sum('passed')} passed, ${sum('failed')} failed`)
process.exit(sum('failed') === 0 && sum('passed') > 0 ? 0 : 1)
