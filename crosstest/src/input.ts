// What people type or paste (SPEC.md, "Input", "Addresses").

import { hexToBytes } from '@noble/hashes/utils.js'
import { bech32 } from '@scure/base'
import { domainToASCII } from 'node:url'
import { canonical, isDomain, toNpub } from './identity.ts'
import { Refused, refuse } from './json.ts'

export type Input =
  | { kind: 'account'; identity: string; spelling?: string }
  | { kind: 'name' | 'nip05'; user: string; host: string }
  | { kind: 'page'; url: string; host: string }

const SCHEMES = ['nostr', 'ed25519', 'dns', 'github', 'bluesky', 'ap']
const INVISIBLE = '\\u061c\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff'
const BECH32 = '[qpzry9x8gf2tvdw0s3jn54khce6mua7l]'

const RESERVED = new Set(
  `about account apps blog business codespaces collections contact copilot customer-stories dashboard discussions
  enterprise events explore features gist gists git-guides home images issues join learn login logout marketplace mobile
  models new nonprofit notifications open-source organizations orgs partners pricing pulls readme resources search
  security sessions settings showcases signup site solutions sponsors stars status team teams topics trending users
  watching why-github wiki`.split(/\s+/),
)
const NO_FEDIVERSE = new Set(
  `medium.com npmjs.com odysee.com rumble.com substack.com threads.com threads.net tiktok.com youtube.com
  hackmd.io`.split(/\s+/),
)

/** KEZ-ID-06. Node's function has the settings of UTS 46 but for STD3 and lengths, which the grammar of a domain checks. */
export function hostOf(name: string): string {
  const host = name.endsWith('.') ? name.slice(0, -1) : name
  if (/[\0-\x7f]/.test(host.replace(/[A-Za-z0-9.-]/g, ''))) refuse('identity_refused', name)
  const out = domainToASCII(host)
  return isDomain(out) ? out : refuse('identity_refused', name)
}

function nostrValue(value: string): string {
  const lower = value.toLowerCase()
  if (/^[0-9a-f]{64}$/.test(lower)) return toNpub(hexToBytes(lower))
  if (!lower.startsWith('nprofile1')) return lower
  try {
    const { words } = bech32.decode(lower as `nprofile1${string}`, 5000)
    const bytes = bech32.fromWords(words)
    for (let at = 0; at + 2 <= bytes.length; at += 2 + bytes[at + 1]) {
      const part = bytes.subarray(at + 2, at + 2 + bytes[at + 1])
      if (bytes[at] === 0) return part.length === 32 ? toNpub(part) : refuse('key_refused')
    }
  } catch {
    // Refused below.
  }
  return refuse('key_refused', value)
}

function account(scheme: string, value: string): Input {
  const plain = value.startsWith('@') ? value.slice(1) : value
  switch (scheme) {
    case 'nostr':
      return { kind: 'account', identity: canonical(`nostr:${nostrValue(value)}`) }
    case 'ed25519':
      return { kind: 'account', identity: canonical(`ed25519:${value.toLowerCase()}`) }
    case 'dns':
      return { kind: 'account', identity: canonical(`dns:${hostOf(value)}`) }
    case 'github':
      return { kind: 'account', identity: canonical(`github:${plain.replace(/\/$/, '').toLowerCase()}`) }
    case 'bluesky': {
      const did = /^did:/i.test(plain)
      return { kind: 'account', identity: canonical(`bluesky:${did ? plain.toLowerCase() : hostOf(plain)}`) }
    }
    case 'ap': {
      const [user, host, more] = plain.split('@')
      if (host === undefined || more !== undefined) refuse('identity_refused', value)
      const identity = canonical(`ap:${user.toLowerCase()}@${hostOf(host)}`)
      return { kind: 'account', identity, spelling: user === user.toLowerCase() ? undefined : user }
    }
  }
  return refuse('scheme_unknown', scheme)
}

/** Step 8b: a host, and something after it that only an address has. */
function isAddress(text: string): boolean {
  const [, first, rest] = /^([^/?#:]*)([/?#]|:.)/s.exec(text) ?? []
  return rest !== undefined && first.includes('.') && !first.includes('@')
}

function named(kind: 'name' | 'nip05', text: string, lower = false): Input {
  const [user, host, more] = text.split('@')
  if (more !== undefined || !/^[A-Za-z0-9_.-]{1,64}$/.test(user)) refuse('identity_refused', text)
  return { kind, user: lower ? user.toLowerCase() : user, host: hostOf(host) }
}

type Row = { scheme: string; hosts?: string[]; paths: RegExp[]; not?: (name: string) => boolean }

const notNostr = (name: string) => !/^n(?:pub|profile)1/i.test(name)
const ROWS: Row[] = [
  {
    scheme: 'github',
    hosts: ['github.com', 'www.github.com'],
    paths: [/^\/([^/]+)/],
    not: (name) => RESERVED.has(name.toLowerCase()),
  },
  {
    scheme: 'github',
    hosts: ['gist.github.com'],
    paths: [/^\/([^/]+)/],
    not: (name) => ['discover', 'forked', 'search', 'starred'].includes(name) || /^[0-9a-f]+$/i.test(name),
  },
  { scheme: 'bluesky', hosts: ['bsky.app', 'www.bsky.app'], paths: [/^\/profile\/([^/]+)/] },
  {
    scheme: 'nostr',
    hosts: ['njump.me', 'nosta.me', 'iris.to', 'primal.net', 'snort.social'],
    paths: [/^\/([^/]+)$/],
    not: notNostr,
  },
  { scheme: 'nostr', hosts: ['primal.net', 'snort.social'], paths: [/^\/p\/([^/]+)$/], not: notNostr },
  { scheme: 'nostr', hosts: ['coracle.social'], paths: [/^\/people\/([^/]+)$/], not: notNostr },
  { scheme: 'nostr', hosts: ['nostrudel.ninja'], paths: [/^\/u\/([^/]+)$/], not: notNostr },
  { scheme: 'nostr', hosts: ['jumble.social'], paths: [/^\/users\/([^/]+)$/], not: notNostr },
]
const FEDIVERSE = [/^\/@([^/]+)/, /^\/users\/([^/]+)$/, /^\/users\/([^/]+)\/statuses(?:\/|$)/, /^\/web\/@([^/]+)/]

/** The algorithm `address`. */
export function address(text: string): Input {
  const refused = () => refuse('identity_refused', text)
  const [, authority, path, query, fragment] =
    /^(?:https?:\/\/)?([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/is.exec(text) ?? refused()
  if (text.includes('\\') || authority.includes('@')) refused()
  const [, name, port = ''] = /^([^:]*)(?::(.*))?$/.exec(authority) ?? refused()
  if (!['', '80', '443'].includes(port)) refused()
  const host = hostOf(name)
  const segments = path
    .split('/')
    .map((s) =>
      s.replace(/%([0-9a-f]{2})/gi, (whole, hex) => {
        const char = String.fromCharCode(parseInt(hex, 16))
        return /[A-Za-z0-9._~@:-]/.test(char) ? char : whole
      }),
    )
    .filter((s) => s !== '')
  if (segments.some((s) => s === '.' || s === '..')) refused()
  const page: Input = { kind: 'page', url: `https://${host}${path}${query ?? ''}`, host }
  const joined = segments.map((s) => `/${s}`).join('')
  const rows = ROWS.filter((row) => row.hosts!.includes(host))
  for (const { scheme, paths, not } of rows) {
    const found = paths.map((p) => p.exec(joined)?.[1]).find((n) => n !== undefined)
    if (found === undefined || not?.(found)) continue
    try {
      return account(scheme, found)
    } catch {
      refused()
    }
  }
  if (rows.length === 0 && !NO_FEDIVERSE.has(host.replace(/^www\./, ''))) {
    for (const pattern of FEDIVERSE) {
      const found = pattern.exec(joined)?.[1]
      if (found === undefined) continue
      try {
        return account('ap', found.includes('@') ? found : `${found}@${host}`)
      } catch (error) {
        if (!(error instanceof Refused)) throw error // the next row may accept it
      }
    }
  }
  // An empty query is none.
  if (segments.length > 0 || (query ?? '?') !== '?') return page
  // An app shows such a page, and no server can be asked about it.
  return /^#[/!]/.test(fragment ?? '') ? refused() : account('dns', host)
}

/** The algorithm `parse_input`. */
export function parseInput(given: string): Input {
  const visible = given.replace(new RegExp(`[${INVISIBLE}]`, 'g'), '')
  if (new RegExp(`nsec1${BECH32}{20}`, 'i').test(visible)) refuse('secret_refused') // not repeated: KEZ-ID-11
  const ends = `[\\p{White_Space}${INVISIBLE}]+`
  let text = given.replace(new RegExp(`^${ends}`, 'u'), '').replace(new RegExp(`${ends}$`, 'u'), '')
  if (Buffer.byteLength(text) > 2048 || /[\p{White_Space}\p{Cc}]/u.test(text)) refuse('identity_refused')
  text = text.replace(/^kez:/i, '')
  if (/^https?:\/\//i.test(text)) return address(text)
  if (/^at:\/\//i.test(text)) return account('bluesky', text.slice(5).split('/')[0])
  if (/^did:/i.test(text)) return account('bluesky', text)
  const scheme = /^([^./?#@:]*):/.exec(text)?.[1]
  if (scheme !== undefined) {
    const value = text.slice(scheme.length + 1).replace(new RegExp(`^[${INVISIBLE}]+|[${INVISIBLE}]+$`, 'g'), '')
    const lower = scheme.toLowerCase()
    const known = ['acct', 'mastodon'].includes(lower) ? 'ap' : lower
    if (!SCHEMES.includes(known)) refuse('scheme_unknown', scheme)
    if (/^https?:\/\//i.test(value) || isAddress(value)) {
      const found = address(value)
      const same = found.kind === 'account' && found.identity.startsWith(`${known}:`)
      return same ? found : refuse('identity_refused', text)
    }
    const nip05 = /^@?([^@]+@[^@]+)$/.exec(value)?.[1]
    return known === 'nostr' && nip05 !== undefined ? named('nip05', nip05, true) : account(known, value)
  }
  if (/^n(?:pub|profile)1/i.test(text)) return account('nostr', text)
  if (isAddress(text)) return address(text)
  if (text.startsWith('@')) {
    const rest = text.slice(1)
    return rest.includes('@') ? named('name', rest) : account(rest.includes('.') ? 'bluesky' : 'github', rest)
  }
  if (text.includes('@')) return named('name', text)
  if (/[.\u0080-\u{10ffff}]/u.test(text)) return account('dns', text)
  return refuse('identity_refused', text) // KEZ-ID-07: two readings
}

/** What an input means without asking anybody: a Name is an account of the fediverse. */
export function input(text: string): string {
  const read = parseInput(text)
  if (read.kind === 'account') return read.identity
  return read.kind === 'name'
    ? canonical(`ap:${read.user.toLowerCase()}@${read.host}`)
    : refuse('identity_refused', text)
}
