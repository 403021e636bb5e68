/** What is said of an account: from what was found out and what was seen before. Nothing is asked here. */
import type { Note } from 'kez'
import { countsOf, isContested, ownersOf } from '#lib/owners.ts'
import type { Known, Pin } from './store.ts'
import type { Word } from './words.ts'

export type State = 'verified' | 'contested' | 'changed' | 'contradicted' | 'unknown' | 'checking'

export type Change =
  | { what: 'primary'; was: string }
  | { what: 'key' }
  | { what: 'shorter' }
  | { what: 'lost'; accounts: string[] }

/** Notes of a report that the mark says, too. */
const ASIDES = ['renamed', 'moved', 'history_unchecked'] as const satisfies readonly Note[]
export type Aside = (typeof ASIDES)[number]

export interface Verdict {
  state: State
  /** Which words say it. */
  word: Word
  valid: number
  all: number
  /** When it can be tried again. */
  retry: string | null
  changes: Change[]
  /** What is said beside a status of `verified`. */
  notes: Aside[]
  /** Whether the page itself stays without a mark: nothing of KEZ was ever seen here. */
  quiet: boolean
}

/** There is nothing there, which is no contradiction. */
const GONE = ['proof_not_found', 'identity_not_found', 'no_channel']

export const checking = (quiet: boolean): Verdict => ({ state: 'checking', word: 'checking', valid: 0, all: 0, retry: null, changes: [], notes: [], quiet })

/** Nothing is known but that it is worth a click. */
export const unchecked: Verdict = { ...checking(true), state: 'unknown', word: 'not_asked' }

/** It was said before that nothing can be had until then. */
export const limited = (retry: string, seen: boolean): Verdict => ({ ...checking(!seen), state: 'unknown', word: 'limited', retry })

const currentKey = ({ graph }: Known): string | null => graph?.keys.at(-1)?.key ?? null

/** What is no longer as it was seen. */
export function changes(subject: string, known: Known, pin: Pin | undefined): Change[] {
  if (pin === undefined) return []
  const edge = known.edges.find((one) => one.subject === subject)
  const found: Change[] = []
  const primary = known.graph?.primary ?? edge?.primary ?? null
  // Where several owners prove it, the one that was seen before may be among them.
  const still = ownersOf(subject, known.edges, known.graph).includes(pin.primary)
  if (primary !== null && primary !== pin.primary && !still) found.push({ what: 'primary', was: pin.primary })
  else if (known.graph !== null && primary === pin.primary) {
    const { head } = known.graph
    const key = currentKey(known)
    if (pin.key !== null && key !== null && key !== pin.key) found.push({ what: 'key' })
    if (known.graph.reason === 'rollback' || (pin.head !== null && head !== null && (head.seq < pin.head.seq || (head.seq === pin.head.seq && head.id !== pin.head.id)))) {
      found.push({ what: 'shorter' })
    }
  }
  // What could not be asked is not lost.
  const lost = pin.accounts.filter((account) => {
    const now = known.edges.find((one) => one.subject === account)
    if (now === undefined) return known.graph !== null && primary === pin.primary
    return now.status !== 'valid' && now.status !== 'unreachable'
  })
  if (lost.length > 0) found.push({ what: 'lost', accounts: lost })
  return found
}

/** For how long a whole check is believed where since then only the platform was asked, in milliseconds. */
const BELIEVED = 7 * 24 * 60 * 60_000

/** What the platform says now, and what everybody said before: as long as the same proof is there, that stays, and stays as old as it is. */
export function joined(subject: string, platform: Known, before: Known | undefined): Known {
  const shown = platform.edges.filter((one) => one.subject === subject && one.primary !== null && one.status !== 'invalid')
  const then = before?.edges.find((one) => one.subject === subject)
  const now = shown.find(({ claim }) => claim === then?.claim)
  if (before?.graph == null || now?.claim == null || then?.status !== 'valid') return platform
  // An owner who was not there before.
  const owners = ownersOf(subject, before.edges, before.graph)
  if (shown.some(({ primary }) => primary !== null && !owners.includes(primary))) return platform
  const stands = now.status === 'valid' || (now.status === 'unreachable' && now.primary === then.primary)
  return stands && Date.parse(platform.checked) - Date.parse(before.checked) < BELIEVED ? before : platform
}

/** What is said of an account; null where there is nothing to say. */
export function verdictOf(subject: string, known: Known, pin: Pin | undefined): Verdict | null {
  const edge = known.edges.find((one) => one.subject === subject)
  const { valid, all } = countsOf(known.edges)
  const one = (state: State, word: Word, more: Partial<Verdict> = {}): Verdict => ({
    state, word, valid, all, retry: null, changes: [], notes: [], quiet: false, ...more,
  })
  const found = changes(subject, known, pin)
  if (found.length > 0) return one('changed', 'changed', { changes: found })
  // A key that is the identity itself has no proof of its own: its accounts' are what there is.
  if (known.graph?.primary === subject && edge === undefined) {
    if (known.graph.chain === 'fork') return one('contradicted', 'forked')
    return valid > 0 ? one('verified', 'verified') : null
  }
  if (edge === undefined || (edge.reason !== null && GONE.includes(edge.reason))) return null
  switch (edge.status) {
    case 'valid':
      if (known.graph?.chain === 'fork') return one('contradicted', 'forked')
      if (isContested(edge)) return one('contested', ownersOf(subject, known.edges, known.graph).length === 2 ? 'contested' : 'contested_more')
      return one('verified', 'verified', { notes: ASIDES.filter((note) => edge.notes.includes(note)) })
    case 'unreachable': {
      // The proof is there, and only others could say more.
      const unasked = known.graph === null && edge.primary !== null
      const reason = edge.retry_at === null ? 'unreachable' : 'limited'
      return one('unknown', unasked ? 'unchecked' : reason, { retry: edge.retry_at, quiet: edge.primary === null && pin === undefined })
    }
    case 'revoked':
      return one('contradicted', 'revoked')
    case 'expired':
      return one('contradicted', 'expired')
    case 'fork':
      return one('contradicted', 'forked')
    case 'invalid':
      return one('contradicted', 'contradicted')
  }
}

/** Somebody as they are now, to be compared with later; nothing where nothing is proven, or not all was asked. */
export function pinOf(subject: string, known: Known, old: Pin | undefined): Pin | undefined {
  const { graph, edges, checked } = known
  const edge = edges.find((one) => one.subject === subject)
  if (graph?.primary == null || (graph.primary !== subject && edge?.status !== 'valid')) return undefined
  const proven = edges.filter(({ status }) => status === 'valid').map((one) => one.subject)
  const same = old?.primary === graph.primary
  // What could not be asked today was there before.
  const kept = same ? old.accounts.filter((account) => edges.some((e) => e.subject === account && e.status === 'unreachable')) : []
  return {
    primary: graph.primary,
    key: currentKey(known),
    head: graph.head,
    accounts: [...new Set([...proven, ...kept])],
    first: same ? old.first : checked,
  }
}
