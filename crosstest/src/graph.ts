// Who is behind an identity (SPEC.md, "The graph").

import type { Chain, Listing } from './chain.ts'
import { evidence } from './fork.ts'
import { isKey } from './identity.ts'
import { emptyReport, end, type History, type Report, utc } from './judge.ts'
import { gather } from './sources.ts'
import { statusOf } from './transport.ts'
import { type Reader, verify } from './verify.ts'

const MAX_SUBJECTS = 100
const WORST = ['revoked', 'valid', 'expired', 'unreachable', 'invalid', 'fork']

export async function identity(reader: Reader, query: string): Promise<{ graph: any; status: string }> {
  const { t, config, memories, clock, now } = reader
  const ask = (primary: string, claimSources: string[] = [], subject?: string): Promise<History> =>
    gather({ t, config, memories, primary, claimSources, subject, clock, now })
  let primary: string | null = null
  let history: History | undefined
  const edges: Report[] = []
  let contested: string[] = []
  if (isKey(query)) {
    history = await ask(query)
    if (['known', 'forked'].includes(history.kind) || query.startsWith('ed25519:')) primary = query
  }
  if (primary === null) {
    const reports = await verify(reader, { subject: query })
    primary = reports[0].primary
    if (primary !== null || !isKey(query)) edges.push(reports[0])
    if (primary === null && isKey(query)) primary = query
    const others = reports.filter((r) => r.status === 'valid' && r.primary !== primary)
    contested = [...new Set(others.map((r) => r.primary!))].sort()
    if (primary !== null) history = await ask(primary, [], query)
  }
  const chain = history && chainOf(history)
  if (primary !== null && chain) {
    const newest = new Map<string, Listing>()
    for (const l of [...chain.listings.values()].sort((a, b) => a.seq - b.seq)) newest.set(l.subject, l)
    const left = [...newest.values()].filter((l) => !edges.some((e) => e.subject === l.subject))
    let looked = 0
    for (const listing of left) {
      const revocation = chain.revocation(listing)
      if (revocation) {
        const report = emptyReport(listing.subject, now)
        Object.assign(report, {
          primary,
          claim: listing.claim,
          account: listing.account ?? null,
          signed_at: utc(listing.addedAt),
          head: history!.kind === 'forked' ? null : chain.head,
          revoked_at: utc(revocation.at),
          revocation: revocation.reason,
        })
        edges.push(end(report, 'revoked', 'revoked'))
      } else if (looked >= MAX_SUBJECTS) {
        edges.push(end(emptyReport(listing.subject, now), 'unreachable', 'search_incomplete'))
      } else {
        looked += 1
        const hints = [...chain.listings.values()]
          .filter((l) => l.subject === listing.subject && l.url)
          .map((l) => l.url!)
        edges.push((await verify(reader, { subject: listing.subject, by: primary, hints }))[0])
      }
    }
  }
  compareBeacons(edges)
  edges.sort((a, b) => (a.subject < b.subject ? -1 : 1))
  const reason = reasonOf(history)
  const graph = {
    schema: 'kez.graph/1',
    query,
    primary,
    contested_by: contested,
    chain: history === undefined ? 'unknown' : history.kind === 'forked' ? 'fork' : history.kind,
    reason: reason ?? null,
    detail: null,
    head: chain?.head ?? null,
    keys: (chain?.periods ?? []).map((p) => ({
      key: p.key,
      from: p.from,
      until: p.until ?? null,
      compromised_since: p.since ?? null,
    })),
    devices: [...(chain?.devices ?? [])]
      .sort(([, a], [, b]) => a.seq - b.seq)
      .map(([key, d]) => ({
        key,
        seq: d.seq,
        caps: d.caps,
        not_after: d.notAfter === undefined ? null : utc(d.notAfter),
        name: d.name ?? null,
        revoked: d.revocation ? { seq: d.revocation.seq, at: utc(d.revocation.at), reason: d.revocation.reason } : null,
      })),
    pre_rotation: chain?.next !== undefined,
    edges,
    checked_at: utc(now),
  }
  return { graph, status: statusOfGraph(history, reason, edges) }
}

function chainOf(history: History): Chain | undefined {
  if (history.kind === 'known') return history.chain
  return history.kind === 'forked' ? evidence(history.seq, history.branches)[0] : undefined
}

function reasonOf(history: History | undefined): string | undefined {
  if (history?.kind === 'known') return history.doubt
  if (history?.kind === 'unknown') return history.code
  return history?.kind === 'forked' ? 'forked' : undefined
}

function statusOfGraph(history: History | undefined, reason: string | undefined, edges: Report[]): string {
  if (history?.kind === 'forked') return 'fork'
  const all: string[] = edges.map((e) => e.status)
  if (reason !== undefined && reason !== 'chain_unreachable') all.push(statusOf(reason))
  if (edges.length === 0) all.push(history?.kind === 'known' ? 'valid' : 'unreachable')
  return all.sort((a, b) => WORST.indexOf(b) - WORST.indexOf(a))[0]
}

/** KEZ-BCN-03: claims that are not invalid may not name two heads of one seq. */
function compareBeacons(edges: Report[]): void {
  const claims = edges.filter((e) => e.beacon && e.status !== 'invalid')
  for (const a of claims) {
    const other = claims.find((b) => b.beacon!.seq === a.beacon!.seq && b.beacon!.id !== a.beacon!.id)
    if (other) end(a, 'fork', 'beacon_mismatch')
  }
}
