// Encodings (SPEC.md, "Encodings").

import { utf8ToBytes } from '@noble/hashes/utils.js'
import { base64urlnopad } from '@scure/base'
import { zstdDecompressSync } from 'node:zlib'
import { keyBytes } from './identity.ts'
import { decodeUtf8, type Json, parse, Refused, refuse } from './json.ts'
import { type Claim, claim, envelope, jcs } from './object.ts'

const MAX_CLAIM = 8 * 1024

/** KEZ-JSON-07 */
export function parseCanonical(bytes: Uint8Array): Json {
  const value = parse(bytes)
  return jcs(value) === decodeUtf8(bytes) ? value : refuse('json_not_canonical')
}

/** KEZ-ENC-01, KEZ-OBJ-06 */
export function fromJson(bytes: Uint8Array): Claim {
  return bytes.length > MAX_CLAIM ? refuse('too_large') : claim(envelope(parse(bytes)))
}

/** KEZ-ENC-03: walks the frame by RFC 8878, and only then lets the decoder see it. */
function decompress(frame: Uint8Array): Uint8Array {
  const bad = (why: string): never => refuse('zstd_refused', why)
  const byte = (at: number) => frame[at] ?? bad('cut off')
  if ([0x28, 0xb5, 0x2f, 0xfd].some((b, i) => frame[i] !== b)) bad('magic')
  const descriptor = byte(4)
  if (descriptor & 0b0001_1011) bad('dictionary or reserved bits')
  const single = (descriptor & 0b0010_0000) !== 0
  let at = 5
  let window = 0
  if (!single) {
    const w = byte(at)
    const base = 2 ** (10 + (w >> 3))
    window = base + (base / 8) * (w & 7)
    at += 1
  }
  const width = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]
  let size = 0
  for (let i = width - 1; i >= 0; i -= 1) size = size * 256 + byte(at + i)
  if (width === 2) size += 256
  at += width
  if ((single ? size : window) > 128 * 1024) bad('window')
  if (width > 0 && size > MAX_CLAIM) refuse('too_large')
  for (let blocks = 1; ; blocks += 1) {
    if (blocks > 64) bad('blocks')
    const header = byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16)
    const kind = (header >> 1) & 3
    const length = header >> 3
    if (kind === 3) bad('block type')
    if (kind === 1 && length > MAX_CLAIM) refuse('too_large')
    at += 3 + (kind === 1 ? 1 : length)
    if (header & 1) break
  }
  if (descriptor & 0b100) at += 4
  if (at !== frame.length) bad('length')
  let out: Uint8Array
  try {
    out = zstdDecompressSync(frame, { maxOutputLength: MAX_CLAIM })
  } catch (error) {
    return (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE' ? refuse('too_large') : bad('decoder')
  }
  return width > 0 && out.length !== size ? bad('size') : out
}

/** KEZ-ENC-02, KEZ-ENC-04 */
export function fromCompact(text: string): Claim {
  if (utf8ToBytes(text).length > 12 * 1024) refuse('too_large')
  const data = /^kez:z1:([A-Za-z0-9_-]*)$/.exec(text)?.[1] ?? refuse('compact_syntax')
  let frame: Uint8Array
  try {
    frame = base64urlnopad.decode(data)
  } catch {
    return refuse('compact_syntax')
  }
  return claim(envelope(parseCanonical(decompress(frame))))
}

/** KEZ-ENC-07 */
export function fromPointer(text: string): string {
  try {
    if (!text.startsWith('kez:')) refuse('pointer_syntax')
    keyBytes(text.slice(4))
    return text.slice(4)
  } catch {
    return refuse('pointer_syntax', text)
  }
}

export type Found = { form: 'json' | 'compact' | 'markdown' | 'pointer'; proof: Claim | string | Refused }

function attempt<T>(work: () => T): T | Refused {
  try {
    return work()
  } catch (error) {
    if (error instanceof Refused) return error
    throw error
  }
}

function fence(line: string): { mark: string; length: number; info: string } | undefined {
  const match = /^( {0,3})(`{3,}|~{3,})(.*)$/.exec(line.trimEnd())
  if (!match || (match[2][0] === '`' && match[3].includes('`'))) return undefined
  return { mark: match[2][0], length: match[2].length, info: match[3].trim() }
}

/** KEZ-ENC-05, KEZ-ENC-08, KEZ-ENC-09 */
export function find(text: string): Found[] {
  const found: Found[] = []
  const seen = new Set<string>()
  const add = (form: Found['form'], token: string, read: () => Claim | string) => {
    if (found.length < 16 && !seen.has(token)) found.push({ form, proof: attempt(read) })
    seen.add(token)
  }
  const json = (form: 'json' | 'markdown', body: string) =>
    add(form, body, () => fromJson(utf8ToBytes(body)))
  const tokens = (body: string) => {
    const pattern = /(?<![A-Za-z0-9_:-])(?:kez:z1:[A-Za-z0-9_-]*|kez:nostr:npub1[A-Za-z0-9]*|kez:ed25519:[A-Za-z0-9]*)/gu
    for (const [token] of body.matchAll(pattern)) {
      if (token.startsWith('kez:z1:')) add('compact', token, () => fromCompact(token))
      else add('pointer', token, () => fromPointer(token))
    }
  }
  if (text.trimStart().startsWith('{')) {
    json('json', text.trim())
    return found
  }
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''))
  const outside: string[] = []
  for (let i = 0; i < lines.length; i += 1) {
    const open = fence(lines[i])
    const close = open
      ? lines.findIndex((line, j) => {
          const end = j > i ? fence(line) : undefined
          return end !== undefined && end.mark === open.mark && end.length >= open.length && end.info === ''
        })
      : -1
    if (!open) outside.push(lines[i])
    if (!open || close < 0) continue
    if (open.info.split(/\s+/)[0] === 'kez') {
      const body = lines.slice(i + 1, close).join('\n')
      if (body.trimStart().startsWith('{')) json('markdown', body.trim())
      else tokens(body)
    }
    i = close
  }
  tokens(outside.join('\n'))
  return found
}
