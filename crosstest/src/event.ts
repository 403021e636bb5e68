// The payload of an event (SPEC.md, "Sigchain"; steps 2d and 2e of `replay`).

import { bytesToHex } from '@noble/hashes/utils.js'
import { parseCanonical } from './encoding.ts'
import { canonical, keyBytes } from './identity.ts'
import { type Json, refuse } from './json.ts'
import * as o from './object.ts'

export type Op =
  | { type: 'add'; subject: string; claim: string; account?: string; url?: string }
  | { type: 'revoke'; claim?: string; subject?: string; reason: string }
  | { type: 'rotate'; to: string; reason: string; since?: number }
  | { type: 'add_device'; device: string; caps: string[]; notAfter?: number; name?: string }
  | { type: 'revoke_device'; device: string; reason: string }
  | { type: 'unknown' }
export type Event = {
  id: string
  chain: string
  seq: number
  prev: string | null
  at: number
  op: Op
  next?: string
  critical?: boolean
  line: string
}

/** The commitment to a key. */
export const commitment = (key: string): string => bytesToHex(o.digest('next', key))

function reason(m: o.Members): string {
  const text = m.text('reason')
  return ['superseded', 'retired', 'compromised'].includes(text) ? text : refuse('reason_unknown', text)
}

/** KEZ-CHN-23 */
function device(m: o.Members): string {
  const key = m.text('device')
  keyBytes(key)
  return key.startsWith('ed25519:') ? key : refuse('key_refused')
}

/** KEZ-CHN-16 */
function capabilities(m: o.Members): string[] {
  const caps = m.optionalList('caps')
  if (caps === undefined) return []
  if (caps.length < 1 || caps.length > 16) refuse('too_large')
  return caps.map((cap) => {
    if (typeof cap !== 'string') return refuse('member_type', 'caps')
    const version = /^[a-z0-9-]+\/(0|[1-9][0-9]*)$/.exec(cap)?.[1]
    return version === undefined || Number(version) > 65535 || cap.length > 32 ? refuse('text_refused', cap) : cap
  })
}

function readOp(value: Json): Op {
  const m = new o.Members(value)
  const type = m.text('type')
  let op: Op
  switch (type) {
    case 'add':
      op = {
        type,
        subject: canonical(m.text('subject')),
        claim: o.objectId(m.text('claim')),
        account: m.optionalText('account'),
        url: m.optionalText('url'),
      }
      o.account(op.account)
      o.url(op.url)
      break
    case 'revoke': {
      const [claim, subject] = [m.optionalText('claim'), m.optionalText('subject')]
      if ((claim === undefined) === (subject === undefined)) refuse('revoke_target') // KEZ-CHN-10
      if (claim !== undefined) o.objectId(claim)
      if (subject !== undefined) canonical(subject)
      op = { type, claim, subject, reason: reason(m) }
      o.freeText(m.optionalText('text'))
      break
    }
    case 'rotate': {
      const to = m.text('to')
      keyBytes(to)
      const since = m.optionalInt('compromised_since')
      if (since !== undefined && since < 1) refuse('member_type', 'compromised_since') // KEZ-JSON-09
      op = { type, to, reason: reason(m), since }
      if (since !== undefined && op.reason !== 'compromised') refuse('compromise_refused') // KEZ-CHN-14
      break
    }
    case 'add_device': {
      op = { type, device: device(m), caps: capabilities(m) }
      const notAfter = m.optionalText('not_after')
      if (notAfter !== undefined) op.notAfter = o.time(notAfter)
      op.name = m.optionalText('name')
      o.freeText(op.name)
      break
    }
    case 'revoke_device':
      op = { type, device: device(m), reason: reason(m) }
      break
    default:
      return { type: 'unknown' }
  }
  m.end()
  return op
}

export function readEvent(object: o.Envelope, line = ''): Event {
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
  keyBytes(chain)
  return {
    id: object.id,
    chain,
    seq,
    prev: prev as string | null,
    at,
    op,
    next,
    critical: critical as boolean | undefined,
    line,
  }
}

/** Steps 2b to 2e. */
export function readLine(line: Uint8Array): { event: Event; object: o.Envelope } {
  if (line.length > 16 * 1024) refuse('too_large')
  const object = o.envelope(parseCanonical(line))
  return { event: readEvent(object, new TextDecoder().decode(line)), object }
}
