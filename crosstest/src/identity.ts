// Identities and keys (SPEC.md, "Identities", "Keys").

import { ed25519 } from '@noble/curves/ed25519.js'
import { schnorr } from '@noble/curves/secp256k1.js'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'
import { bech32 } from '@scure/base'
import { refuse } from './json.ts'

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})+$`)
// KEZ-ID-03: hyphens anywhere, but not alone before the short code.
const LOGIN = /^(?!-+(?:_|$))[a-z0-9-]+(?:_[a-z0-9]+)?$/
const USER = /^[a-z0-9_](?:[a-z0-9_.-]{0,62}[a-z0-9_])?$/

export function isKey(identity: string): boolean {
  return identity.startsWith('nostr:') || identity.startsWith('ed25519:')
}

// KEZ-ID-02
export function isDomain(text: string): boolean {
  return text.length <= 253 && DOMAIN.test(text) && !/^[0-9]/.test(text.split('.').at(-1)!)
}

// KEZ-ID-04, KEZ-KEY-02
export function npub(text: string): Uint8Array {
  try {
    const { prefix, words } = bech32.decode(text as `npub1${string}`, 100)
    const bytes = bech32.fromWords(words)
    if (prefix === 'npub' && bytes.length === 32 && toNpub(bytes) === text) {
      schnorr.utils.lift_x(BigInt(`0x${bytesToHex(bytes)}`))
      return bytes
    }
  } catch {
    // Refused below.
  }
  return refuse('key_refused', text)
}

export function toNpub(bytes: Uint8Array): string {
  return bech32.encode('npub', bech32.toWords(bytes), 100)
}

// KEZ-KEY-01
function ed25519Key(text: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(text)) refuse('key_refused', text)
  const bytes = hexToBytes(text)
  try {
    const point = ed25519.Point.fromBytes(bytes, false)
    if (!point.isSmallOrder() && point.isTorsionFree() && bytesToHex(point.toBytes()) === text) return bytes
  } catch {
    // Refused below.
  }
  return refuse('key_refused', text)
}

/** The bytes of a key's identity. */
export function keyBytes(identity: string): Uint8Array {
  const at = identity.indexOf(':')
  const value = identity.slice(at + 1)
  if (identity.startsWith('nostr:')) return npub(value)
  if (identity.startsWith('ed25519:')) return ed25519Key(value)
  return refuse('key_expected', identity) // KEZ-ID-10
}

/** Refuses what is not an identity in its canonical form: KEZ-ID-01, KEZ-ID-08. */
export function canonical(text: string): string {
  const at = text.indexOf(':')
  if (at < 0) refuse('identity_refused', text)
  const scheme = text.slice(0, at)
  const value = text.slice(at + 1)
  const check = (ok: boolean) => (ok ? text : refuse('identity_refused', text))
  switch (scheme) {
    case 'nostr':
    case 'ed25519':
      keyBytes(text)
      return text
    case 'dns':
      return check(isDomain(value) && value.length <= 248)
    case 'github':
      return check(value.length <= 39 && LOGIN.test(value))
    case 'bluesky': {
      const web = value.startsWith('did:web:') && isDomain(value.slice(8))
      return check(isDomain(value) || /^did:plc:[a-z2-7]{24}$/.test(value) || web)
    }
    case 'ap': {
      const parts = value.split('@')
      return check(parts.length === 2 && USER.test(parts[0]) && isDomain(parts[1]))
    }
    default:
      if (!/^[a-z][a-z0-9]{1,15}$/.test(scheme)) refuse('scheme_unknown', scheme)
      return check(/^[!-~]{1,255}$/.test(value))
  }
}
