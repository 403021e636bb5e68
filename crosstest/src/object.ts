// Signed objects, suites and claims (SPEC.md, "Signed objects", "Claims").

import { ed25519 } from '@noble/curves/ed25519.js'
import { schnorr } from '@noble/curves/secp256k1.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import canonicalize from 'canonicalize'
import { canonical, isDomain, keyBytes } from './identity.ts'
import { type Json, type JsonObject, refuse } from './json.ts'

export function jcs(value: Json): string {
  return (canonicalize as unknown as (value: Json) => string)(value)
}

/** Reads an object's members and refuses what is left over (KEZ-JSON-08). */
export class Members {
  #left: Map<string, Json>

  constructor(value: Json | undefined) {
    const isObject = value !== null && typeof value === 'object' && !Array.isArray(value)
    if (!isObject) refuse('member_type', 'an object is wanted')
    this.#left = new Map(Object.entries(value as JsonObject))
  }

  optional(name: string): Json | undefined {
    const value = this.#left.get(name)
    this.#left.delete(name)
    return value
  }

  required(name: string): Json {
    return this.#left.has(name) ? (this.optional(name)! ?? null) : refuse('member_missing', name)
  }

  optionalText(name: string): string | undefined {
    const value = this.optional(name)
    if (value !== undefined && typeof value !== 'string') refuse('member_type', name)
    return value as string | undefined
  }

  text(name: string): string {
    return this.optionalText(name) ?? refuse('member_missing', name)
  }

  optionalInt(name: string): number | undefined {
    const value = this.optional(name)
    if (value !== undefined && typeof value !== 'number') refuse('member_type', name)
    return value as number | undefined
  }

  seq(name: string): number {
    const n = this.optionalInt(name) ?? refuse('member_missing', name)
    return n >= 1 ? n : refuse('member_type', name)
  }

  optionalList(name: string): Json[] | undefined {
    const value = this.optional(name)
    if (value !== undefined && !Array.isArray(value)) refuse('member_type', name)
    return value as Json[] | undefined
  }

  end(ext = false): void {
    if (ext) {
      const value = this.optional('ext')
      if (value !== undefined) new Members(value)
    }
    for (const name of this.#left.keys()) refuse('member_unknown', name)
  }
}

// Common values.

export function time(text: string): number {
  const ok = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/.test(text)
  const ms = ok ? Date.parse(text) : NaN
  const same = !Number.isNaN(ms) && new Date(ms).toISOString() === text.replace('Z', '.000Z')
  return same && ms >= 0 ? ms / 1000 : refuse('time_refused', text)
}

export function freeText(text: string | undefined): void {
  if (text === undefined) return
  const length = [...text].length
  const bad = /[\p{Cc}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/u.test(text)
  if (length < 1 || length > 128 || bad) refuse('text_refused', text)
}

export function account(text: string | undefined): void {
  if (text !== undefined && !/^[!-~]{1,512}$/.test(text)) refuse('text_refused', text)
}

export function url(text: string | undefined): void {
  if (text === undefined) return
  const match = /^(?:https|wss):\/\/([a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?(\/[^?]*)(?:\?.*)?$/.exec(text)
  const [, host = '', port, path = ''] = match ?? []
  const ok =
    text.length <= 2048 &&
    /^(?:[\w\-.~!$&()*+,;=:@/?]|%(?!2[eE])[0-9A-Fa-f]{2})*$/.test(text) &&
    isDomain(host) &&
    host.length <= 248 &&
    port !== '443' &&
    Number(port ?? 1) <= 65535 &&
    path !== '' &&
    path.split('/').every((segment) => segment !== '.' && segment !== '..')
  if (!ok) refuse('url_refused', text)
}

export function objectId(text: string): string {
  return /^[0-9a-f]{64}$/.test(text) ? text : refuse('id_refused', text)
}

/** KEZ-OBJ-02, and the commitment of KEZ-CHN-11 */
export function digest(kind: string, data: string): Uint8Array {
  const zero = Uint8Array.of(0)
  return sha256(concatBytes(utf8ToBytes('KEZ1'), zero, utf8ToBytes(kind), zero, utf8ToBytes(data)))
}

export type Signature = { key: string; suite: string; sig: Uint8Array }
export type Envelope = { payload: JsonObject; id: string; sigs: Signature[] }

export function envelope(value: Json): Envelope {
  const m = new Members(value)
  const version = m.required('kez')
  if (typeof version !== 'number') refuse('member_type', 'kez')
  if (version !== 1) refuse('version_unknown')
  const payload = m.required('payload')
  const kind = new Members(payload).text('type')
  const list = m.optionalList('sigs') ?? refuse('member_missing', 'sigs')
  m.end()
  if (list.length < 1 || list.length > 2) refuse('signature_set')
  const sigs = list.map((item) => {
    const s = new Members(item)
    const key = s.text('key')
    const suite = s.text('suite')
    if (!['ed25519', 'bip340', 'nostr-event'].includes(suite)) refuse('suite_mismatch', suite)
    const sig = s.text('sig')
    if (!/^[0-9a-f]{128}$/.test(sig)) refuse('signature_syntax')
    s.end()
    return { key, suite, sig: hexToBytes(sig) }
  })
  return { payload: payload as JsonObject, id: bytesToHex(digest(kind, jcs(payload))), sigs }
}

/** KEZ-SIG-05 */
function eventId(object: Envelope, key: Uint8Array): Uint8Array {
  const seconds = time(new Members(object.payload).text('created_at'))
  const event = [0, bytesToHex(key), seconds, 30539, [['d', `kez:${object.id}`]], jcs(object.payload)]
  return sha256(utf8ToBytes(JSON.stringify(event)))
}

/** KEZ-SIG-02: strict, cofactorless. */
export function ed25519Verifies(sig: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  try {
    const r = ed25519.Point.fromBytes(sig.subarray(0, 32), false)
    const s = BigInt(`0x${bytesToHex(sig.slice(32).reverse())}`)
    const order = ed25519.Point.Fn.ORDER
    if (s >= order || r.isSmallOrder()) return false
    const hash = sha512(concatBytes(sig.subarray(0, 32), key, message))
    const k = BigInt(`0x${bytesToHex(hash.slice().reverse())}`) % order
    const a = ed25519.Point.fromBytes(key, false)
    const left = s === 0n ? ed25519.Point.ZERO : ed25519.Point.BASE.multiply(s)
    const right = r.add(k === 0n ? ed25519.Point.ZERO : a.multiply(k))
    return left.equals(right)
  } catch {
    return false
  }
}

export function verifySignature(object: Envelope, signature: Signature): void {
  const key = keyBytes(signature.key)
  const nostr = signature.key.startsWith('nostr:')
  if (nostr !== (signature.suite !== 'ed25519')) refuse('suite_mismatch') // KEZ-SIG-01
  const id = hexToBytes(object.id)
  let ok: boolean
  if (!nostr) {
    ok = ed25519Verifies(signature.sig, id, key)
  } else {
    const message = signature.suite === 'bip340' ? id : eventId(object, key)
    ok = schnorr.verify(signature.sig, message, key)
  }
  if (!ok) refuse('signature_bad')
}

export type Head = { seq: number; id: string }

export function optionalHead(m: Members): Head | undefined {
  const value = m.optional('head')
  if (value === undefined) return undefined
  const h = new Members(value)
  const head = { seq: h.seq('seq'), id: objectId(h.text('id')) }
  h.end()
  return head
}

export type Claim = {
  id: string
  sig: string
  subject: string
  primary: string
  signer: string
  createdAt: number
  expiresAt?: number
  account?: string
  head?: Head
  sources: string[]
}

/** "Claims": payload, then the one signature. */
export function claim(object: Envelope): Claim {
  const m = new Members(object.payload)
  const type = m.text('type')
  if (type !== 'claim') refuse('type_unknown', type)
  const subject = canonical(m.text('subject'))
  const primary = m.text('primary')
  keyBytes(primary)
  const createdAt = time(m.text('created_at'))
  const expires = m.optionalText('expires_at')
  const expiresAt = expires === undefined ? undefined : time(expires)
  if (expiresAt !== undefined && expiresAt <= createdAt) refuse('expiry_refused')
  const pinned = m.optionalText('account')
  account(pinned)
  const head = optionalHead(m)
  const list = m.optionalList('sources')
  if (list !== undefined && (list.length < 1 || list.length > 8)) refuse('too_large')
  const sources = (list ?? []).map((item) => {
    if (typeof item !== 'string') refuse('member_type', 'sources')
    url(item as string)
    return item as string
  })
  m.end(true)
  if (object.sigs.length !== 1) refuse('signature_set') // KEZ-CLM-04
  const signer = object.sigs[0].key
  verifySignature(object, object.sigs[0])
  const sig = bytesToHex(object.sigs[0].sig)
  return { id: object.id, sig, subject, primary, signer, createdAt, expiresAt, account: pinned, head, sources }
}
