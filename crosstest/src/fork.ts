// Forks: merging copies, and the object that is evidence of one (SPEC.md, "Forks").

import { utf8ToBytes } from '@noble/hashes/utils.js'
import { Chain } from './chain.ts'
import { commitment, readEvent } from './event.ts'
import { isObject, type Json, parse, refuse } from './json.ts'
import * as o from './object.ts'

export type Merged = { chain: Chain; settled: boolean } | { fork: number; branches: Chain[] }

/** The algorithm `merge`; KEZ-FRK-02. */
export function merge(copies: Chain[]): Merged {
  let branches: Chain[] = []
  for (const copy of copies) {
    if (branches.some((b) => b.beginsWith(copy))) continue
    branches = [...branches.filter((b) => !copy.beginsWith(b)), copy]
  }
  let settled = false
  for (;;) {
    if (branches.length === 1) return { chain: branches[0], settled }
    let seq = 1
    while (branches.every((b) => b.events[seq - 1] && b.events[seq - 1].id === branches[0].events[seq - 1]?.id))
      seq += 1
    const committed = branches[0].commitments[seq - 1]
    const groups = Map.groupBy(branches, (b) => b.events[seq - 1].id)
    const wins = [...groups.values()].filter((group) =>
      group.some((b) =>
        b.events.slice(seq - 1).some(({ op }) => op.type === 'rotate' && commitment(op.to) === committed),
      ),
    )
    if (committed === undefined || wins.length !== 1) return { fork: seq, branches }
    branches = wins[0]
    settled = true
  }
}

/** The two branches that a writer of a fork object takes: a, and b. */
export function evidence(seq: number, branches: Chain[]): [Chain, Chain] {
  const groups = [...Map.groupBy(branches, (b) => b.events[seq - 1].id)].sort(([x], [y]) => (x < y ? -1 : 1))
  const best = (group: Chain[]) =>
    group.toSorted((x, y) => y.events.length - x.events.length || (x.head!.id < y.head!.id ? -1 : 1))[0]
  return [best(groups[0][1]), best(groups[1][1])]
}

const depth = (value: Json): number =>
  value === null || typeof value !== 'object' ? 0 : 1 + Math.max(0, ...Object.values(value).map(depth))

/** The algorithm `read_fork`; KEZ-FRK-01. */
export function readFork(bytes: Uint8Array, clock: number): [Chain, Chain] {
  if (bytes.length > 64 * 1024 * 1024) refuse('too_large') // KEZ-FRK-06
  // An event is two levels below the top of the object, and its own depth counts from its top.
  const value = parse(bytes, 2)
  const m = new o.Members(value)
  const version = m.required('kez')
  if (typeof version !== 'number') refuse('member_type', 'kez')
  if (version !== 1) refuse('version_unknown')
  if (m.text('type') !== 'fork') refuse('type_unknown')
  const a = m.optionalList('a') ?? refuse('member_missing', 'a')
  const b = m.optionalList('b') ?? refuse('member_missing', 'b')
  m.end()
  for (const event of [...a, ...b]) {
    if (!isObject(event)) refuse('member_type')
    if (depth(event) > 8) refuse('json_depth')
  }
  const replay = (events: Json[], name?: string) =>
    Chain.replay(utf8ToBytes(events.map((e) => `${o.jcs(e)}\n`).join('')), clock, name)
  const first = replay(a)
  if (b.length === 0) refuse('fork_refused')
  const { seq } = readEvent(o.envelope(b[0]))
  if (seq - 1 > a.length) refuse('fork_refused')
  const second = replay([...a.slice(0, seq - 1), ...b], first.name)
  const [x, y] = [first.events[seq - 1]?.id, second.events[seq - 1]?.id]
  if (x === undefined || x >= y) refuse('fork_refused')
  return [first, second]
}
