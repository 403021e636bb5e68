// What clients and servers of chat read (SPEC.md, "Chat"), without MLS itself.

import { ed25519 } from '@noble/curves/ed25519.js'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { ml_kem768_x25519 as xWing } from '@noble/post-quantum/hybrid.js'
import { createDecipheriv } from 'node:crypto'
import { Chain } from './chain.ts'
import { parseCanonical } from './encoding.ts'
import { commitment, type Event, readLine } from './event.ts'
import { keyBytes } from './identity.ts'
import { decodeUtf8, parse, Refused, refuse } from './json.ts'
import * as o from './object.ts'

const RESERVED = [
  ...['abuse', 'admin', 'administrator', 'all', 'anonymous', 'api', 'bot', 'channel', 'everyone', 'help', 'here'],
  ...['hostmaster', 'info', 'kez', 'me', 'moderator', 'noreply', 'null', 'official', 'operator', 'postmaster', 'root'],
  ...['security', 'self', 'staff', 'support', 'system', 'team', 'undefined', 'webmaster', 'you'],
]

/** KEZ-HANDLE-01 */
function handle(text: string): string {
  const ok = /^[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?$/.test(text) && !RESERVED.includes(text)
  return ok ? text : refuse('handle_refused', text)
}

/** KEZ-HANDLE-02, KEZ-HANDLE-03 */
function handleRecord(input: any, now: number): void {
  const chain = Chain.replay(utf8ToBytes(input.chain), now)
  const object = o.envelope(parse(utf8ToBytes(input.record)))
  const m = new o.Members(object.payload)
  if (m.text('type') !== 'handle') refuse('type_unknown')
  const name = handle(m.text('handle'))
  const server = m.text('server')
  if (!/^[!-~]{1,512}$/.test(server)) refuse('text_refused')
  const primary = m.text('primary')
  keyBytes(primary)
  o.time(m.text('created_at'))
  const sources = m.optionalList('sources') ?? []
  if (sources.length > 8) refuse('too_large')
  for (const source of sources) o.url(typeof source === 'string' ? source : refuse('member_type', 'sources'))
  m.end(true)
  if (object.sigs.length !== 1) refuse('signature_set')
  o.verifySignature(object, object.sigs[0])
  const era = chain.periods.find(({ key }) => key === object.sigs[0].key)
  const proven =
    name === input.handle && server === input.server && primary === chain.name && era && era.since === undefined
  if (!proven) refuse('handle_unproven')
}

/** KEZ-CERT-01, KEZ-CERT-02: the last of the events, each vouched for by those before it. */
function follow(text: string): Event {
  try {
    if (utf8ToBytes(text).length > 32 * 1024) refuse('too_large')
    const lines = text.split('\n')
    if (lines.pop() !== '' || lines.length < 1 || lines.length > 33) refuse('line_syntax')
    let last: Event | undefined
    let key = ''
    let next: string | undefined
    for (const line of lines) {
      const { event, object } = readLine(utf8ToBytes(line))
      const { op } = event
      key ||= event.chain
      if (last && (event.chain !== last.chain || event.seq <= last.seq)) refuse('chain_seq')
      let signers = [key]
      if (op.type === 'rotate') {
        if (next !== undefined && commitment(op.to) !== next) refuse('next_mismatch')
        signers = next === undefined ? [key, op.to] : [op.to]
        key = op.to
        next = event.next
      } else {
        if (next !== undefined && event.next !== undefined) refuse('next_refused')
        if (op.type === 'add_device') signers.push(op.device)
        next ??= event.next
      }
      const same = signers.length === object.sigs.length && signers.every((k, i) => k === object.sigs[i].key)
      if (!same) refuse('chain_signer')
      for (const sig of object.sigs) o.verifySignature(object, sig)
      last = event
    }
    return last!
  } catch (error) {
    if (error instanceof Refused) refuse('certificate_refused', error.message)
    throw error
  }
}

type Vouched = { chain: string; seq: number; id: string; device: string }

function certificate(text: string): Vouched {
  const { chain, seq, id, op } = follow(text)
  const chats = op.type === 'add_device' && op.caps.includes('chat/1')
  return chats ? { chain, seq, id, device: op.device } : refuse('certificate_refused')
}

/** KEZ-CERT-04 */
function evidence(text: string): Vouched {
  const { chain, seq, id, op } = follow(text)
  return op.type === 'revoke_device' ? { chain, seq, id, device: op.device } : refuse('certificate_refused')
}

/** check_device */
function device(input: any, now: number): void {
  const vouched = certificate(input.certificate)
  const chain = Chain.replay(utf8ToBytes(input.chain), now)
  const listed = chain.devices.has(vouched.device) && chain.events[vouched.seq - 1]?.id === vouched.id
  if (!listed) refuse('certificate_refused')
  if (!chain.inForce(vouched.device, now)) refuse('device_revoked')
}

/** KEZ-SEAL-02 */
function deviceBundle(text: string, now: number): string {
  const object = o.envelope(parse(utf8ToBytes(text)))
  const m = new o.Members(object.payload)
  if (m.text('type') !== 'device_bundle') refuse('type_unknown')
  keyBytes(m.text('primary'))
  const key = m.text('device')
  keyBytes(key)
  const sealed = Buffer.from(m.text('sealed_key'), 'base64url')
  if (sealed.length !== 1216) refuse('bundle_refused')
  const [from, until] = [o.time(m.text('created_at')), o.time(m.text('expires_at'))]
  m.end(true)
  if (until <= from || until > from + 30 * 86_400) refuse('expiry_refused')
  if (object.sigs.length !== 1 || object.sigs[0].key !== key) refuse('bundle_refused')
  o.verifySignature(object, object.sigs[0])
  if (from > now + 600 || until <= now) refuse('bundle_refused')
  return key
}

/** KEZ-AUTH-01 to 03 */
function auth({ origin, method, path, since, body, at, header, query }: any): void {
  const malformed = /^KEZ /.test(header ?? 'KEZ ') ? 'auth_refused' : 'auth_missing'
  const form = query
    ? /^device=([0-9a-f]{64})&auth=(0|[1-9][0-9]*):([0-9a-f]{128})$/
    : /^KEZ device=([0-9a-f]{64}),ts=(0|[1-9][0-9]*),sig=([0-9a-f]{128})$/
  const [, key, ts, sig] = form.exec(query ?? header) ?? refuse(malformed)
  if (Math.abs(Number(ts) - at) > 60_000) refuse('auth_refused')
  const bound = []
  if (since !== undefined) bound.push(`since=${since}`)
  if (body !== undefined) bound.push(`sha256=${bytesToHex(sha256(utf8ToBytes(body)))}`)
  const text = ['KEZ1-AUTH', origin, method, path, ...bound, ts].join('\n')
  if (!ed25519.verify(hexToBytes(sig), utf8ToBytes(text), hexToBytes(key))) refuse('auth_refused')
}

/** KEZ-SAFE-01 */
function safety(sides: { primary: string; devices: string[] }[]): string {
  const half = ({ primary, devices }: { primary: string; devices: string[] }) => {
    const text = [primary, ...devices.toSorted()].join('\n')
    let digest = o.digest('safety', text)
    for (let i = 0; i < 5200; i++) digest = sha256(concatBytes(digest, utf8ToBytes(text)))
    const group = (i: number) => Number(BigInt(`0x${bytesToHex(digest.slice(5 * i, 5 * i + 5))}`) % 100_000n)
    return [0, 1, 2, 3, 4, 5].map((i) => String(group(i)).padStart(5, '0')).join(' ')
  }
  return sides.map(half).sort().join(' ')
}

/** KEZ-SEAL-01: HPKE (RFC 9180), base mode; KEM 0x647A, KDF 1, AEAD 1. */
function sealed({ secret, purpose, to, envelope }: any): string {
  const bytes = hexToBytes(envelope)
  if (bytes[0] !== 1 || bytes.length < 1 + 1120 + 16) refuse('sealed_refused')
  const shared = xWing.decapsulate(bytes.slice(1, 1121), hexToBytes(secret))
  const suite = concatBytes(utf8ToBytes('HPKE'), Uint8Array.of(0x64, 0x7a, 0, 1, 0, 1))
  const none = new Uint8Array()
  const label = (name: string) => concatBytes(utf8ToBytes('HPKE-v1'), suite, utf8ToBytes(name))
  const labeledExtract = (salt: Uint8Array, name: string, ikm: Uint8Array) =>
    extract(sha256, concatBytes(label(name), ikm), salt)
  const info = utf8ToBytes(`KEZ1\0sealed\0${purpose}\0${to}`)
  const context = concatBytes(
    Uint8Array.of(0),
    labeledExtract(none, 'psk_id_hash', none),
    labeledExtract(none, 'info_hash', info),
  )
  const master = labeledExtract(shared, 'secret', none)
  const labeledExpand = (name: string, length: number) =>
    expand(sha256, master, concatBytes(Uint8Array.of(0, length), label(name), context), length)
  const opener = createDecipheriv('aes-128-gcm', labeledExpand('key', 16), labeledExpand('base_nonce', 12))
  opener.setAuthTag(bytes.slice(-16))
  try {
    return decodeUtf8(concatBytes(opener.update(bytes.slice(1121, -16)), opener.final()))
  } catch {
    return refuse('sealed_refused')
  }
}

/** KEZ-MSG-01 */
function message(text: string): string {
  const m = new o.Members(parseCanonical(utf8ToBytes(text)))
  if (!/^[0-9a-f]{32}$/.test(m.text('id'))) refuse('id_refused')
  o.time(m.text('at'))
  m.seq('count')
  o.optionalHead(m)
  const type = m.text('type')
  if (type === 'leave') {
    m.end(true)
    return type
  }
  if (type !== 'text') return `unknown ${type}`
  const said = m.text('text')
  m.end(true)
  if (said === '') refuse('text_refused')
  return Buffer.byteLength(said) > 16 * 1024 ? refuse('too_large') : `text ${said}`
}

/** Runs a vector of chat. */
export function run(kind: string, input: any, now: number): unknown {
  switch (kind) {
    case 'handle':
      return handle(input)
    case 'handle-record':
      return handleRecord(input, now)
    case 'certificate': {
      const { chain, device, seq } = certificate(input)
      return `${chain} ${device} ${seq}`
    }
    case 'evidence': {
      const { chain, device } = evidence(input)
      return `${chain} ${device}`
    }
    case 'device':
      return device(input, now)
    case 'device-bundle':
      return deviceBundle(input, now)
    case 'auth':
      return auth(input)
    case 'safety':
      return safety(input)
    case 'sealed':
      return sealed(input)
    case 'message':
      return message(input)
    default:
      throw new Error(`an unknown kind: ${kind}`)
  }
}
