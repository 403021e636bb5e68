// Channel `dns` (SPEC.md): TXT records at `_kez.<domain>`.

import { type Context, endError, endWith, type Lookup, tried } from './channel.ts'
import { findProofs } from './encoding.ts'
import { Refused } from './json.ts'
import type { Claim } from './object.ts'

const QUOTES = '"\\u201c\\u201d\\u201e'
/** A DNS marker: also with quotation marks and white space in it, and in any case. */
const MARKER = new RegExp(`(?<![A-Za-z0-9_:-])kez:[\\s${QUOTES}]*(?:z1|nostr|ed25519):`, 'i')
/** What the decoder says of a record whose bytes were changed. Other codes are those of a proof that is not valid. */
const BROKEN = [
  ...['compact_syntax', 'zstd_refused', 'pointer_syntax', 'proof_malformed'],
  ...['json_utf8', 'json_syntax', 'json_not_canonical'],
]

const decodes = (text: string) =>
  findProofs(text).candidates.some(({ proof }) => !(proof instanceof Refused) || !BROKEN.includes(proof.code))

/** Why a record with a marker is no text. */
function fault(record: string): string {
  if (new RegExp(`[${QUOTES}]`).test(record)) return 'quotation marks'
  if (!/^kez:/i.test(record)) return 'white space or other text before it'
  if (/\s/.test(record)) return 'broken by white space'
  if (!record.startsWith('kez:')) return 'other letter case'
  if (record === record.toLowerCase()) return 'all lower case'
  return record.length % 255 === 0 ? 'cut at a multiple of 255' : 'changed'
}

function meaning(record: string): 'ignored' | 'text' | 'malformed' {
  const marker = MARKER.exec(record)
  if (!marker) return record.startsWith('kez:') ? 'text' : 'ignored'
  const plain = record.startsWith('kez:') && marker.index === 0 && !new RegExp(`[${QUOTES}]`).test(record)
  return plain && decodes(record) ? 'text' : 'malformed'
}

const claims = (record: string): Claim[] =>
  findProofs(record).candidates.flatMap(({ proof }) => (typeof proof === 'object' && 'subject' in proof ? [proof] : []))

export async function dns(domain: string, { t, now }: Context, found: Lookup): Promise<void> {
  const name = `_kez.${domain}`
  found.place = found.current = { url: `dns:${name}?type=TXT` }
  const answer = await tried(t.txt(name))
  if (answer instanceof Refused) return endError(answer)
  const { rcode, records, ad, ttl } = answer
  const place = { ...found.place, rcode }
  Object.assign(found, { place, current: place, dnssec: ad, via: 'direct' })
  if (rcode !== 0 && rcode !== 3) endWith('dns_failed', `response code ${rcode}`) // KEZ-DNS-02
  if (ttl !== undefined) found.lastsUntil = now + ttl
  let ignored = true
  for (const record of records.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    const means = meaning(record)
    ignored &&= means === 'ignored'
    if (means === 'text') found.texts.push({ text: record, place, via: 'direct' })
    if (means === 'malformed') found.side('proof_malformed', fault(record), found.lastsUntil)
  }
  if (!ignored) return
  const parent = domain.split('.').slice(1)
  const above = parent.length >= 2 ? `_kez.${parent.join('.')}` : undefined
  const elsewhere = [domain, `kez.${domain}`, `_kez.${domain}.${domain}`, ...(above === undefined ? [] : [above])]
  for (const other of elsewhere.filter((n) => n.length <= 253)) {
    const got = await tried(t.txt(other))
    if (got instanceof Refused || got.rcode !== 0) continue
    for (const record of got.records.filter((r) => MARKER.test(r))) {
      const subjects = claims(record).map((c) => c.subject)
      const mine = subjects.includes(`dns:${domain}`)
      if (mine || (other !== above && subjects.length === 0)) {
        const at = { url: `dns:${other}?type=TXT` }
        found.side('proof_malformed', `it is at ${other}, and belongs to ${name}`, found.lastsUntil, at)
      }
    }
  }
}
