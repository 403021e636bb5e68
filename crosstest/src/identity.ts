// Identities and keys (SPEC.md, "Identities", "Keys").

import { ed25519 } from '@noble/curves/ed25519.js'
import { schnorr } from '@noble/curves/secp256k1.js'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'
import { bech32 } from '@scure/base'
import { domainToASCII } from 'node:url'
import { refuse } from './json.ts'

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})+$`)
const LOGIN = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:_[a-z0-9]+)?$/
const USER = /^[a-z0-9_](?:[a-z0-9_.-]{0,62}[a-z0-9_])?$/

export function isKey(identity: string): boolean {
  return identity.startsWith('nostr:') || identity.startsWith('ed25519:')
}

// KEZ-ID-02
export function isDomain(text: string): boolean {
  return text.length <= 253 && DOMAIN.test(text) && !/^[0-9]/.test(text.split('.').at(-1)!)
}

// KEZ-ID-04, KEZ-KEY-02
function npub(text: string): Uint8Array {
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
  return refuse('key_expected', identity)
}

/** KEZ-ID-01 */
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
      return refuse('scheme_unknown', scheme)
  }
}

// KEZ-ID-06
function ascii(name: string): string {
  const host = name.endsWith('.') ? name.slice(0, -1) : name
  const out = domainToASCII(host)
  return out === '' || /[^a-z0-9.-]/.test(out) ? refuse('identity_refused', name) : out
}

function fromValue(scheme: string, value: string): string {
  if (/^https?:\/\//.test(value)) {
    const rest = value.replace(/^https?:\/\//, '')
    const found = scheme === 'dns' ? fromValue('dns', rest.split(/[/?#]/)[0]) : fromUrl(rest)
    return found.startsWith(`${scheme}:`) ? found : refuse('identity_refused', value)
  }
  const plain = value.startsWith('@') ? value.slice(1) : value
  switch (scheme) {
    case 'nostr':
      return canonical(`nostr:${/^[0-9a-f]{64}$/.test(value) ? toNpub(hexToBytes(value)) : value}`)
    case 'dns':
      return canonical(`dns:${ascii(value)}`)
    case 'github':
      return canonical(`github:${plain.replace(/\/+$/, '')}`)
    case 'bluesky':
      return canonical(`bluesky:${plain.startsWith('did:') ? plain : ascii(plain)}`)
    case 'ap': {
      const [user, host] = plain.split('@')
      if (host === undefined) refuse('identity_refused', value)
      return canonical(`ap:${user}@${ascii(host)}`)
    }
    default:
      return canonical(`${scheme}:${value}`)
  }
}

function fromUrl(rest: string): string {
  const host = rest.split(/[/?#]/)[0]
  const [first = '', second = ''] = rest.slice(host.length).split(/[?#]/)[0].split('/').filter((p) => p !== '')
  if (['github.com', 'www.github.com', 'gist.github.com'].includes(host) && first) return fromValue('github', first)
  if (host === 'bsky.app' && first === 'profile') return fromValue('bluesky', second)
  if (host === 'njump.me' && first.startsWith('n')) return fromValue('nostr', first)
  if (first.startsWith('@')) {
    const user = first.slice(1)
    return fromValue('ap', user.includes('@') ? user : `${user}@${host}`)
  }
  if (first === 'users' && second) return fromValue('ap', `${second}@${host}`)
  if (host.endsWith('.github.io')) return fromValue('github', host.slice(0, -'.github.io'.length))
  return fromValue('dns', host)
}

/** What people type. */
export function input(text: string): string {
  const lower = text.trim().toLowerCase()
  if (lower.includes('nsec1')) refuse('secret_refused') // KEZ-ID-05
  if (/^https?:\/\//.test(lower)) return fromUrl(lower.replace(/^https?:\/\//, ''))
  if (lower.startsWith('did:')) return fromValue('bluesky', lower)
  const at = lower.indexOf(':')
  if (at >= 0) {
    const scheme = lower.slice(0, at)
    return fromValue(['mastodon', 'acct'].includes(scheme) ? 'ap' : scheme, lower.slice(at + 1))
  }
  if (lower.startsWith('npub1')) return fromValue('nostr', lower)
  const bare = lower.startsWith('@') ? lower.slice(1) : lower
  if (bare.includes('@')) return fromValue('ap', bare)
  if (bare !== lower) return fromValue(bare.includes('.') ? 'bluesky' : 'github', bare)
  if (bare.includes('.')) return fromValue('dns', bare)
  return refuse('identity_refused', text) // KEZ-ID-07
}
