// Verifying an account (SPEC.md, "verify"): one report per primary.

import { ap } from './ap.ts'
import { bluesky } from './bluesky.ts'
import { type Context, endWith, type Failure, type Lookup, lookup, type Via } from './channel.ts'
import { dns } from './dns.ts'
import { findProofs, type Form } from './encoding.ts'
import { github } from './github.ts'
import { Refused } from './json.ts'
import { emptyReport, end, type History, judge, note, type Report, utc } from './judge.ts'
import { nostr } from './nostr.ts'
import type { Claim } from './object.ts'
import { type Config, gather, Memories } from './sources.ts'
import { type Place, statusOf, type Transport } from './transport.ts'

const MAX_PRIMARIES = 4
const ORDER = ['valid', 'fork', 'unreachable', 'revoked', 'expired', 'invalid']
const BEST = ['fork', 'valid', 'unreachable', 'revoked', 'expired', 'invalid']

/** What the decoder says of text that was broken on its way. */
const NO_FORM = [
  ...['compact_syntax', 'zstd_refused', 'pointer_syntax', 'json_utf8', 'json_syntax', 'json_not_canonical'],
]

const CHANNELS: { [scheme: string]: (value: string, context: Context, found: Lookup) => Promise<void> } = {
  dns,
  github,
  nostr,
  bluesky,
  ap,
}

export type Reader = {
  t: Transport
  config: Config
  memories: Memories
  channels: Context['config']
  now: number
  clock: number
}

type Candidate = { form: Form; proof: Claim | string | Refused; place: Place; via: Via }

export function lookUp(reader: Reader, asked: string, hints: string[], spelling?: string): Promise<Lookup> {
  const at = asked.indexOf(':')
  const channel = CHANNELS[asked.slice(0, at)]
  if (channel === undefined) {
    // KEZ-ID-09
    return lookup(() => endWith('no_channel', asked))
  }
  const { t, clock, channels, config } = reader
  const context: Context = { t, now: clock, hints, spelling, relays: config.relays, config: channels }
  return lookup((found) => channel(asked.slice(at + 1), context, found))
}

const primaryOf = (proof: Claim | string) => (typeof proof === 'string' ? proof : proof.primary)

export type Asked = { subject: string; by?: string; hints?: string[]; spelling?: string }

/** The algorithm `verify`; KEZ-VER-05. */
export async function verify(reader: Reader, { subject, by, hints = [], spelling }: Asked): Promise<Report[]> {
  const { now } = reader
  const found = await lookUp(reader, subject, hints, spelling)
  const asked = found.subject ?? subject
  const blank = (place: Place | null, via: Via | null) => {
    const report = emptyReport(asked, now)
    const { account, dnssec, movedTo } = found
    Object.assign(report, { account, dnssec, place, via, moved_to: movedTo })
    if (movedTo !== null) note(report, 'moved')
    return report
  }
  const failedReport = (failure: Failure, place: Place | null) => {
    const report = found.ended ? emptyReport(subject, now) : blank(place, found.via)
    report.place = place
    report.detail = failure.detail
    if (failure.retryAt !== undefined) report.retry_at = utc(failure.retryAt)
    return end(report, statusOf(failure.code), failure.code)
  }
  if (found.ended) return [failedReport(found.ended, found.ended.place ?? null)]

  const candidates: Candidate[] = []
  for (const { text, place, via } of found.texts) {
    const search = findProofs(text)
    candidates.push(...search.candidates.map((c) => ({ ...c, place, via })))
    if (search.incomplete) found.failed ??= { code: 'search_incomplete', detail: 'candidates' } // KEZ-ENC-15
  }

  const histories = new Map<string, History>()
  async function historyOf(primary: string): Promise<History> {
    const known = histories.get(primary)
    if (known) return known
    if (histories.size >= MAX_PRIMARIES)
      return { kind: 'unknown', code: 'chain_unreachable', detail: 'too many primaries' }
    const claimSources = candidates.flatMap(({ proof }) =>
      typeof proof === 'object' && !(proof instanceof Refused) && proof.primary === primary ? proof.sources : [],
    )
    const { t, config, memories, clock } = reader
    const history = await gather({ t, config, memories, primary, claimSources, subject: asked, clock, now })
    histories.set(primary, history)
    return history
  }

  const perPrimary = new Map<string, Report[]>()
  for (const { form, proof, place, via } of candidates) {
    if (proof instanceof Refused) continue
    const primary = primaryOf(proof)
    if (by !== undefined && by !== primary) continue
    const report = judge(blank(place, via), form, proof, await historyOf(primary), now)
    perPrimary.set(primary, [...(perPrimary.get(primary) ?? []), report])
  }
  let reports = [...perPrimary.values()].map((all) => sorted(all, BEST)[0])
  const broken = candidates.find(({ proof }) => proof instanceof Refused)
  let extra: Report | undefined
  if (by === undefined && broken && reports.every((r) => r.status !== 'valid')) {
    const { code: said, message } = broken.proof as Refused
    const code = NO_FORM.includes(said) ? 'proof_malformed' : said
    extra = end(
      Object.assign(blank(broken.place, broken.via), { encoding: broken.form, detail: message }),
      statusOf(code),
      code,
    )
  }
  if (found.failed && reports.every((r) => r.status === 'invalid'))
    extra = failedReport(found.failed, found.failed.place ?? found.place)
  if (extra) reports = [...reports, extra]
  if (reports.length === 0) {
    const report = end(blank(found.place, found.via), 'invalid', 'proof_not_found')
    if (found.lastsUntil !== undefined) report.retry_at = utc(found.lastsUntil)
    return [report]
  }
  const valid = reports.filter((r) => r.status === 'valid')
  if (valid.length > 1) for (const report of valid) note(report, 'contested')
  return sorted(reports, ORDER)
}

/** By status, then the newest date of signing, then the primary; the sort is stable. */
function sorted(reports: Report[], order: string[]): Report[] {
  const byText = (a: string | null, b: string | null) => {
    if (a === b) return 0
    if (a === null || b === null) return a === null ? 1 : -1
    return a < b ? -1 : 1
  }
  const dated = (a: Report, b: Report) =>
    a.signed_at === null || b.signed_at === null ? byText(a.signed_at, b.signed_at) : -byText(a.signed_at, b.signed_at)
  const named = (a: Report, b: Report) => (order === ORDER ? byText(a.primary, b.primary) : 0)
  return reports.toSorted((a, b) => order.indexOf(a.status) - order.indexOf(b.status) || dated(a, b) || named(a, b))
}
