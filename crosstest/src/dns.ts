// Channel `dns` (SPEC.md): TXT records at `_kez.<domain>`.

import { type Context, endError, endWith, type Lookup, tried } from './channel.ts'
import { findProofs } from './encoding.ts'
import { Refused } from './json.ts'
import type { Claim } from './object.ts'

/** As in find_proofs: no letter, digit, "_", "-" or ":" stands before it. */
const MARKER = /(?<![A-Za-z0-9_:-])kez:(?:z1|nostr|ed25519):/i
/** What the decoder says of a record whose bytes were changed. Other codes are those of a proof that is not valid. */
const BROKEN = /^(?:compact_syntax|zstd_refused|pointer_syntax|proof_malformed|too_large|json_.*)$/

/** Why a record with a marker is no text; nothing where it is one. */
function fault(record: string): string | undefined {
  const decodes = (text: string) =>
    findProofs(text).candidates.some(({ proof }) => !(proof instanceof Refused) || !BROKEN.test(proof.code))
  if (record.startsWith('kez:') && decodes(record)) return undefined
  if (record.includes('"') || /[“”]/.test(record)) return 'quotation marks'
  if (!/^kez:/i.test(record)) return 'white space or other text before it'
  if (/\s/.test(record)) return 'broken by white space'
  if (!record.startsWith('kez:')) return 'other letter case'
  if (record === record.toLowerCase()) return 'all lower case'
  return record.length % 255 === 0 ? 'cut at a multiple of 255' : 'changed'
}

const claims = (record: string): Claim[] =>
  findProofs(record).candidates.flatMap(({ proof }) => (typeof proof === 'object' && 'subject' in proof ? [proof] : []))

export async function dns(domain: string, { t, now }: Context, found: Lookup): Promise<void> {
  const name = `_kez.${domain}`
  found.place = found.current = { url: `dns:${name}?type=TXT` }
  const answer = await tried(t.txt(name))
  if (answer instanceof Refused) endError(answer)
  const { rcode, records, ad, ttl } = answer as Exclude<typeof answer, Refused>
  const place = { ...found.place, rcode }
  Object.assign(found, { place, current: place, dnssec: ad, via: 'direct' })
  if (rcode !== 0 && rcode !== 3) endWith('dns_failed', `response code ${rcode}`)
  if (ttl !== undefined) found.lastsUntil = now + ttl
  const marked = records.filter((record) => MARKER.test(record))
  for (const record of marked) {
    const why = fault(record)
    if (why === undefined) found.texts.push({ text: record, place, via: 'direct' })
    else found.side('proof_malformed', why)
  }
  if (marked.length > 0) return
  const parent = domain.split('.').slice(1)
  const elsewhere = [domain, `kez.${domain}`, `_kez.${domain}.${domain}`]
  const above = parent.length >= 2 ? `_kez.${parent.join('.')}` : undefined
  for (const other of above === undefined ? elsewhere : [...elsewhere, above]) {
    const got = await tried(t.txt(other))
    if (got instanceof Refused || got.rcode !== 0) continue
    for (const record of got.records.filter((r) => MARKER.test(r))) {
      const subjects = claims(record).map((c) => c.subject)
      const mine = subjects.includes(`dns:${domain}`)
      if (mine || (other !== above && subjects.length === 0)) {
        const at = { url: `dns:${other}?type=TXT` }
        found.side('proof_malformed', `it is at ${other}, and belongs to ${name}`, undefined, at)
      }
    }
  }
}
