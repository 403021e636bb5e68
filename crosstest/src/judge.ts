// The verdict on one proof, and the report of it (SPEC.md, "Verdicts").

import type { Chain, Listing, Revocation } from './chain.ts'
import type { Form } from './encoding.ts'
import type { Claim, Head } from './object.ts'
import type { Place } from './transport.ts'

/** The result of `gather`. */
export type History =
  | { kind: 'forked'; branches: Chain[]; seq: number }
  | { kind: 'absent' }
  | { kind: 'unchecked' }
  | { kind: 'unknown'; code: string; detail?: string }
  | { kind: 'known'; chain: Chain; doubt?: string; unchecked: boolean; settled: boolean; refused: boolean }

export type Status = 'valid' | 'invalid' | 'revoked' | 'expired' | 'unreachable' | 'fork'

export const NOTES = [
  ...['unlisted', 'pointer', 'no_chain', 'history_unchecked', 'fork_settled', 'events_skipped', 'account_unpinned'],
  ...['contested', 'renamed', 'moved', 'server_refused'],
]

export type Report = {
  schema: 'kez.report/1'
  subject: string
  primary: string | null
  status: Status
  reason: string | null
  detail: string | null
  notes: string[]
  encoding: Form | null
  claim: string | null
  claimed_as: string | null
  account: string | null
  moved_to: string | null
  place: Place | null
  via: string | null
  dnssec: boolean | null
  checked_at: string
  signed_at: string | null
  expires_at: string | null
  revoked_at: string | null
  revocation: string | null
  head: Head | null
  beacon: Head | null
  retry_at: string | null
}

export const utc = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')

export function emptyReport(subject: string, now: number): Report {
  return {
    schema: 'kez.report/1',
    subject,
    primary: null,
    status: 'valid',
    reason: null,
    detail: null,
    notes: [],
    encoding: null,
    claim: null,
    claimed_as: null,
    account: null,
    moved_to: null,
    place: null,
    via: null,
    dnssec: null,
    checked_at: utc(now),
    signed_at: null,
    expires_at: null,
    revoked_at: null,
    revocation: null,
    head: null,
    beacon: null,
    retry_at: null,
  }
}

export function note(report: Report, name: string): void {
  const all = new Set([...report.notes, name])
  report.notes = NOTES.filter((n) => all.has(n))
}

export function end(report: Report, status: Status, reason: string): Report {
  return Object.assign(report, { status, reason })
}

function revoke(report: Report, { at, reason }: Revocation): Report {
  Object.assign(report, { revoked_at: utc(at), revocation: reason })
  return end(report, 'revoked', 'revoked')
}

const schemeOf = (identity: string) => identity.slice(0, identity.indexOf(':'))

/** The algorithm `judge`. The report has what the lookup gave; the rest is filled in. */
export function judge(report: Report, form: Form, proof: Claim | string, history: History, now: number): Report {
  const asked = report.subject
  report.encoding = form
  if (history.kind === 'known') {
    report.head = history.chain.head
    if (history.chain.skipped.length > 0) note(report, 'events_skipped')
    if (history.settled) note(report, 'fork_settled')
    if (history.refused) note(report, 'server_refused')
  }
  if (typeof proof === 'string') {
    report.primary = proof
    return judgePointer(report, asked, history)
  }
  Object.assign(report, {
    primary: proof.primary,
    claim: proof.id,
    signed_at: utc(proof.createdAt),
    expires_at: proof.expiresAt === undefined ? null : utc(proof.expiresAt),
    beacon: proof.head ?? null,
  })
  return judgeClaim(report, asked, proof, history, now)
}

const REVOKED = ['key_rotated', 'key_compromised']

function judgeClaim(report: Report, asked: string, claim: Claim, history: History, now: number): Report {
  const platform = report.account
  const listed = history.kind === 'known' ? history.chain.listings.get(claim.id) : undefined
  const pinned = claim.account ?? listed?.account
  if (claim.subject !== asked) {
    const same = pinned !== undefined && pinned === platform
    if (!same || schemeOf(claim.subject) !== schemeOf(asked)) return end(report, 'invalid', 'wrong_owner')
    note(report, 'renamed')
    report.claimed_as = claim.subject
  }
  if (platform !== null) {
    if (pinned === undefined) note(report, 'account_unpinned')
    else if (pinned !== platform) return end(report, 'invalid', 'account_changed')
  }
  if (claim.createdAt > now + 600) return end(report, 'invalid', 'not_yet_valid') // KEZ-VER-03
  if (history.kind === 'forked') return end(report, 'fork', 'forked')
  let doubt = history.kind === 'known' ? history.doubt : undefined
  if (history.kind === 'known') {
    const { chain } = history
    if (claim.head) {
      const event = chain.events[claim.head.seq - 1]
      if (event && event.id !== claim.head.id) return end(report, 'fork', 'beacon_mismatch') // KEZ-BCN-01
      if (!event) doubt = 'rollback'
    }
    const said = chain.standing(claim)
    if (said.unlisted) note(report, 'unlisted')
    if (said.revocation) return revoke(report, said.revocation)
    if (said.stranger && doubt) return end(report, 'unreachable', doubt)
    if (said.stranger && history.unchecked) return end(report, 'unreachable', 'chain_unreachable')
    if (said.code) return end(report, REVOKED.includes(said.code) ? 'revoked' : 'invalid', said.code)
  }
  if (doubt === 'rollback' || (history.kind === 'absent' && claim.head)) return end(report, 'unreachable', 'rollback')
  if (claim.expiresAt !== undefined && claim.expiresAt <= now) return end(report, 'expired', 'expired')
  if (doubt) return end(report, 'unreachable', doubt)
  if (history.kind === 'unknown') return end(report, 'unreachable', history.code)
  if (history.kind === 'absent' || history.kind === 'unchecked') {
    // The owner says that there is a chain.
    const relies = history.kind === 'absent' && claim.sources.length > 0
    if (relies || claim.signer !== claim.primary) return end(report, 'unreachable', 'chain_unreachable')
    note(report, history.kind === 'absent' ? 'no_chain' : 'history_unchecked')
  } else if (history.unchecked) {
    note(report, 'history_unchecked')
  }
  return report
}

/** KEZ-VER-04 */
function judgePointer(report: Report, asked: string, history: History): Report {
  const platform = report.account
  note(report, 'pointer')
  if (history.kind === 'forked') return end(report, 'fork', 'forked')
  if (history.kind === 'absent') return end(report, 'invalid', 'not_on_chain')
  if (history.kind === 'unchecked') return end(report, 'unreachable', 'chain_unreachable')
  if (history.kind === 'unknown') return end(report, 'unreachable', history.code)
  const { chain, doubt } = history
  const listings = [...chain.listings.values()].sort((a, b) => b.seq - a.seq)
  const inForce = (l: Listing) => chain.revocation(l) === undefined
  let found = listings.find((l) => l.subject === asked && inForce(l))
  if (!found && platform !== null) {
    const sameAccount = (l: Listing) => l.account === platform && schemeOf(l.subject) === schemeOf(asked)
    found = listings.find((l) => sameAccount(l) && inForce(l))
    if (found) {
      note(report, 'renamed')
      report.claimed_as = found.subject
    }
  }
  if (found) {
    Object.assign(report, { claim: found.claim, signed_at: utc(found.addedAt) })
    if (platform !== null) {
      if (found.account === undefined) note(report, 'account_unpinned')
      else if (found.account !== platform) return end(report, 'invalid', 'account_changed')
    }
    return doubt ? end(report, 'unreachable', doubt) : historyNote(report, history)
  }
  const revoked = listings
    .filter((l) => l.subject === asked)
    .map((l) => chain.revocation(l)!)
    .sort((a, b) => b.seq - a.seq)
  if (revoked.length > 0) return revoke(report, revoked[0])
  return doubt ? end(report, 'unreachable', doubt) : end(report, 'invalid', 'not_on_chain')
}

/** A valid report that rests on a remembered chain alone. */
function historyNote(report: Report, history: { unchecked: boolean }): Report {
  if (history.unchecked) note(report, 'history_unchecked')
  return report
}
