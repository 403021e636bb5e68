// Sigchains and forks (SPEC.md, "Sigchain").

import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { canonical, isKey, keyBytes } from './identity.ts'
import { decodeUtf8, type Json, parse, refuse } from './json.ts'
import { parseCanonical } from './encoding.ts'
import * as o from './object.ts'

type Revocation = { seq: number; at: number }
type Listing = { subject: string; seq: number; account?: string }
type Era = { key: string; from: number; until?: number; since?: number }
type Op = { type: string; [name: string]: any }
export type Event = { id: string; chain: string; seq: number; prev: string | null; at: number; op: Op; next?: string; critical?: boolean }

/** KEZ-CHN-11 */
export const commitment = (key: string): string => bytesToHex(o.digest('next', key))

function readOp(value: Json): Op {
  const m = new o.Members(value)
  const type = m.text('type')
  const reason = () => {
    const text = m.text('reason')
    return ['superseded', 'retired', 'compromised'].includes(text) ? text : refuse('reason_unknown', text)
  }
  const device = () => {
    const key = m.text('device')
    keyBytes(key)
    return key.startsWith('ed25519:') ? key : refuse('key_refused')
  }
  let op: Op
  switch (type) {
    case 'add': {
      op = { type, subject: canonical(m.text('subject')), claim: o.objectId(m.text('claim')), account: m.optionalText('account') }
      o.account(op.account)
      o.url(m.optionalText('url'))
      break
    }
    case 'revoke': {
      const [claim, subject] = [m.optionalText('claim'), m.optionalText('subject')]
      if ((claim === undefined) === (subject === undefined)) refuse('revoke_target')
      if (claim !== undefined) o.objectId(claim)
      if (subject !== undefined) canonical(subject)
      op = { type, claim, subject, reason: reason() }
      o.freeText(m.optionalText('text'))
      break
    }
    case 'rotate': {
      const to = m.text('to')
      keyBytes(to)
      op = { type, to, reason: reason() }
      const since = m.optionalInt('compromised_since')
      if (since !== undefined && since < 1) refuse('member_type')
      if (since !== undefined && op.reason !== 'compromised') refuse('compromise_refused')
      op.since = since
      break
    }
    case 'add_device': {
      op = { type, device: device() }
      const caps = m.optionalList('caps')
      if (caps !== undefined && (caps.length < 1 || caps.length > 16)) refuse('too_large')
      for (const cap of caps ?? []) {
        if (typeof cap !== 'string') refuse('member_type')
        const version = /^[a-z0-9-]+\/(0|[1-9][0-9]*)$/.exec(cap as string)?.[1]
        if (version === undefined || Number(version) > 65535 || (cap as string).length > 32) refuse('text_refused')
      }
      op.caps = caps
      const notAfter = m.optionalText('not_after')
      if (notAfter !== undefined) op.notAfter = o.time(notAfter)
      o.freeText(m.optionalText('name'))
      break
    }
    case 'revoke_device':
      op = { type, device: device(), reason: reason() }
      break
    default:
      return { type: 'unknown', name: type }
  }
  m.end()
  return op
}

export function readEvent(object: o.Envelope): Event {
  const m = new o.Members(object.payload)
  const type = m.text('type')
  if (type !== 'event') refuse('type_unknown', type)
  const chain = m.text('chain')
  const seq = m.seq('seq')
  const prev = m.required('prev')
  if (prev !== null && typeof prev !== 'string') refuse('member_type', 'prev')
  if (prev !== null) o.objectId(prev as string)
  const at = o.time(m.text('created_at'))
  const op = readOp(m.required('op'))
  const next = m.optionalText('next')
  if (next !== undefined) o.objectId(next)
  const critical = m.optional('critical')
  if (critical !== undefined && typeof critical !== 'boolean') refuse('member_type', 'critical')
  m.end(true)
  if (!isKey(chain)) refuse('key_expected', chain)
  return { id: object.id, chain, seq, prev: prev as string | null, at, op, next, critical: critical as boolean | undefined }
}

export class Chain {
  name = ''
  events: Event[] = []
  lines: string[] = []
  eras: Era[] = []
  next: string | undefined
  listings = new Map<string, Listing>()
  voided = new Set<string>()
  revokedClaims = new Map<string, Revocation[]>()
  revokedSubjects = new Map<string, Revocation[]>()
  devices = new Map<string, { revoked: boolean }>()
  used = new Set<string>()

  static replay(bytes: Uint8Array, now: number): Chain {
    if (bytes.length > 32 * 1024 * 1024) refuse('too_large') // KEZ-CHN-02
    const chain = new Chain()
    let start = 0
    while (start < bytes.length) {
      const end = bytes.indexOf(10, start)
      const line = bytes.subarray(start, end < 0 ? 0 : end)
      if (end < 0 || line.length === 0 || line.at(-1) === 13) refuse('line_syntax') // KEZ-CHN-01
      chain.append(line, now)
      start = end + 1
    }
    return chain.events.length > 0 ? chain : refuse('chain_empty')
  }

  append(line: Uint8Array, now: number): void {
    if (line.length > 16 * 1024 || this.events.length >= 10_000) refuse('too_large')
    const object = o.envelope(parseCanonical(line))
    const event = readEvent(object)
    if (this.events.length === 0) {
      keyBytes(event.chain)
      this.name = event.chain
      this.eras = [{ key: event.chain, from: 1 }]
      this.used.add(event.chain)
    }
    const last = this.events.at(-1)
    if (event.chain !== this.name) refuse('chain_id') // KEZ-CHN-03
    if (event.seq !== this.events.length + 1) refuse('chain_seq')
    if (event.prev !== (last?.id ?? null)) refuse('chain_prev')
    if (last && event.at < last.at) refuse('chain_time')
    if (event.at > now + 600) refuse('chain_future')
    const signers = this.#signers(event)
    const same = signers.length === object.sigs.length && signers.every((key, i) => key === object.sigs[i].key)
    if (!same) refuse('chain_signer') // KEZ-CHN-07
    for (const sig of object.sigs) o.verifySignature(object, sig)
    this.#apply(event)
    this.events.push(event)
    this.lines.push(decodeUtf8(line))
  }

  #signers({ op, next, critical, seq }: Event): string[] {
    const era = this.eras.at(-1)!
    const fresh = (key: string) => (this.used.has(key) ? refuse('key_used') : key) // KEZ-CHN-13
    if (next !== undefined && this.next !== undefined && op.type !== 'rotate') refuse('next_refused')
    switch (op.type) {
      case 'add':
        return this.listings.has(op.claim) ? refuse('claim_listed') : [era.key]
      case 'revoke':
        return [era.key]
      case 'rotate': {
        fresh(op.to)
        const late = op.since !== undefined && (op.since < era.from || op.since >= seq)
        if (late) refuse('compromise_refused') // KEZ-CHN-14
        if (this.next === undefined) return [era.key, op.to]
        return commitment(op.to) === this.next ? [op.to] : refuse('next_mismatch') // KEZ-CHN-12
      }
      case 'add_device':
        return [era.key, fresh(op.device)]
      case 'revoke_device':
        return this.devices.get(op.device)?.revoked === false ? [era.key] : refuse('device_unknown')
      default:
        return critical === false ? [era.key] : refuse('op_unknown') // KEZ-CHN-17
    }
  }

  #apply(event: Event): void {
    const { op, seq, at } = event
    if (event.next !== undefined) this.next = event.next
    if (op.type === 'add') {
      this.listings.set(op.claim, { subject: op.subject, seq, account: op.account })
      this.voided.delete(op.claim)
    } else if (op.type === 'revoke') {
      const map = op.claim !== undefined ? this.revokedClaims : this.revokedSubjects
      const name = op.claim ?? op.subject
      map.set(name, [...(map.get(name) ?? []), { seq, at }])
    } else if (op.type === 'rotate') {
      Object.assign(this.eras.at(-1)!, { until: seq, since: op.since })
      this.eras.push({ key: op.to, from: seq + 1 })
      this.used.add(op.to)
      this.next = event.next
      if (op.since !== undefined) this.#void(op.since)
    } else if (op.type === 'add_device') {
      this.used.add(op.device)
      this.devices.set(op.device, { revoked: false })
    } else if (op.type === 'revoke_device') {
      this.devices.get(op.device)!.revoked = true
    }
  }

  /** KEZ-CHN-14: what the events from there on have done is undone. */
  #void(since: number): void {
    for (const { op, seq } of this.events.slice(since - 1)) {
      if (op.type === 'add') {
        this.listings.delete(op.claim)
        this.voided.add(op.claim)
      } else if (op.type === 'revoke') {
        const map = op.claim !== undefined ? this.revokedClaims : this.revokedSubjects
        const name = op.claim ?? op.subject
        map.set(name, (map.get(name) ?? []).filter((r) => r.seq !== seq))
      } else if (op.type === 'add_device') {
        this.devices.delete(op.device)
      } else if (op.type === 'revoke_device') {
        this.devices.get(op.device)!.revoked = false
      }
    }
  }

  #revoked(claim: string, { subject, seq }: Listing): boolean {
    const byId = this.revokedClaims.get(claim) ?? []
    const bySubject = this.revokedSubjects.get(subject) ?? []
    return byId.length > 0 || bySubject.some((r) => r.seq >= seq)
  }

  /** "What a chain says of a claim": a reason code, or nothing. */
  standing(claim: o.Claim): string | undefined {
    const era = this.eras.findLast((e) => e.key === claim.signer)
    if (!era) return 'chain_signer'
    const listing = this.listings.get(claim.id)
    if (listing) {
      if (listing.subject !== claim.subject) return 'listing_mismatch' // KEZ-CHN-18
      if (this.#revoked(claim.id, listing)) return 'revoked' // KEZ-CHN-19
      return era.until !== undefined && listing.seq >= era.until ? 'key_rotated' : undefined // KEZ-CHN-20
    }
    if (this.voided.has(claim.id)) return 'key_compromised'
    if ((this.revokedClaims.get(claim.id) ?? []).length > 0) return 'revoked'
    if ((this.revokedSubjects.get(claim.subject) ?? []).some((r) => claim.createdAt <= r.at)) return 'revoked'
    if (era.until === undefined) return undefined // KEZ-CHN-21
    return era.since === undefined ? 'key_rotated' : 'key_compromised'
  }

  /** The newest listing of a subject in force, or whether there was one. */
  pointer(subject: string): Listing | 'revoked' | undefined {
    const all = [...this.listings].filter(([, l]) => l.subject === subject)
    const live = all.filter(([claim, l]) => !this.#revoked(claim, l)).sort((a, b) => b[1].seq - a[1].seq)
    return live[0]?.[1] ?? (all.length > 0 ? 'revoked' : undefined)
  }

  bundle(): string {
    return this.lines.map((line) => `${line}\n`).join('')
  }
}

/** The first seq at which two copies differ. */
export function divergence(a: Chain, b: Chain): number | undefined {
  const length = Math.min(a.events.length, b.events.length)
  const at = Array.from({ length }, (_, i) => i).find((i) => a.events[i].id !== b.events[i].id)
  return at === undefined ? undefined : at + 1
}

/** KEZ-FRK-01, KEZ-FRK-02 */
export function fork(bytes: Uint8Array, now: number): 'open' | 'settled' {
  const m = new o.Members(parse(bytes))
  if (m.required('kez') !== 1) refuse('version_unknown')
  const type = m.text('type')
  if (type !== 'fork') refuse('type_unknown')
  const a = m.optionalList('a') ?? refuse('member_missing', 'a')
  const b = m.optionalList('b') ?? refuse('member_missing', 'b')
  m.end()
  const replay = (events: Json[]) => Chain.replay(utf8ToBytes(events.map((e) => `${o.jcs(e)}\n`).join('')), now)
  const first = replay(a)
  if (b.length === 0) refuse('fork_refused')
  const seq = readEvent(o.envelope(b[0])).seq
  if (seq > a.length) refuse('fork_refused')
  const second = replay([...a.slice(0, seq - 1), ...b])
  const at = divergence(first, second)
  if (at !== seq || first.events[at - 1].id > second.events[at - 1].id) refuse('fork_refused')
  let committed: string | undefined
  for (const event of first.events.slice(0, seq - 1)) {
    if (event.next !== undefined || event.op.type === 'rotate') committed = event.next
  }
  const rotates = (chain: Chain) =>
    committed !== undefined &&
    chain.events.slice(seq - 1).some(({ op }) => op.type === 'rotate' && commitment(op.to) === committed)
  return rotates(first) !== rotates(second) ? 'settled' : 'open'
}
