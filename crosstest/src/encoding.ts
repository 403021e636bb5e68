// Encodings and the search for proofs (SPEC.md, "Encodings and proof search").

import { utf8ToBytes } from '@noble/hashes/utils.js'
import { base64urlnopad } from '@scure/base'
import { keyBytes } from './identity.ts'
import { attempt, decodeUtf8, foreign, isObject, type Json, parse, Refused, refuse } from './json.ts'
import { type Claim, claim, envelope, jcs } from './object.ts'
import { decompress } from './zstd.ts'

/** KEZ-JSON-07 */
export function parseCanonical(bytes: Uint8Array): Json {
  const value = parse(bytes)
  return jcs(value) === decodeUtf8(bytes) ? value : refuse('json_not_canonical')
}

/** read_json; KEZ-ENC-01, KEZ-OBJ-06 */
export function fromJson(bytes: Uint8Array): Claim {
  return bytes.length > 8 * 1024 ? refuse('too_large') : claim(envelope(parse(bytes)))
}

/** read_compact; KEZ-ENC-02, KEZ-ENC-04, KEZ-ENC-10 */
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

/** read_pointer; KEZ-ENC-07 */
export function fromPointer(text: string): string {
  try {
    if (!text.startsWith('kez:')) refuse('pointer_syntax')
    keyBytes(text.slice(4))
    return text.slice(4)
  } catch {
    return refuse('pointer_syntax', text)
  }
}

export type Form = 'json' | 'compact' | 'markdown' | 'pointer'
/** A proof is a claim, or the primary of a pointer, or the code of what does not decode. */
export type Found = { form: Form; proof: Claim | string | Refused }
export type Search = { candidates: Found[]; incomplete: boolean }

type Candidate = { at: number; form: Form; read: () => Claim | string }
type Line = { at: number; text: string }
type Fence = { mark: string; length: number; info: string }

const MAX_TRIED = 64
const MAX_DECODED = 16

/** Lines end at LF, CRLF or CR. */
function linesOf(text: string): Line[] {
  const lines: Line[] = []
  for (const match of text.matchAll(/([^\r\n]*)(\r\n|\n|\r|$)/g)) {
    if (match[0] !== '' || match.index < text.length) lines.push({ at: match.index, text: match[1] })
  }
  return lines
}

function opening(line: string): Fence | undefined {
  const match = /^ {0,3}(`{3,}|~{3,})(.*)$/s.exec(line)
  if (!match || (match[1][0] === '`' && match[2].includes('`'))) return undefined
  return { mark: match[1][0], length: match[1].length, info: match[2].replace(/^[ \t]+|[ \t]+$/g, '') }
}

function closes(line: string, fence: Fence): boolean {
  const match = /^ {0,3}(`+|~+)[ \t]*$/.exec(line)
  return match !== null && match[1][0] === fence.mark && match[1].length >= fence.length
}

const trim = (text: string) => text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '')

/** Step 4b. A marker starts where no letter, digit, "_", "-" or ":" stands before it. */
function markers(line: Line): Candidate[] {
  const found: Candidate[] = []
  const pattern = /(?<![A-Za-z0-9_:-])kez:/gi
  const malformed = /^kez:[ \t\u00a0]*(z1:|nostr:|npub1|ed25519:)[ \t]*[A-Za-z0-9_-]{20}/i
  for (let match = pattern.exec(line.text); match; match = pattern.exec(line.text)) {
    const rest = line.text.slice(match.index)
    const at = line.at + match.index
    const compact = /^kez:z1:[A-Za-z0-9_-]*/.exec(rest)?.[0]
    const pointer = /^kez:(?:nostr:npub1|ed25519:)[A-Za-z0-9]*/.exec(rest)?.[0]
    if (compact !== undefined) found.push({ at, form: 'compact', read: () => fromCompact(compact) })
    else if (pointer !== undefined) found.push({ at, form: 'pointer', read: () => fromPointer(pointer) })
    else {
      const name = malformed.exec(rest)?.[1].toLowerCase()
      const form = name === 'z1:' ? 'compact' : 'pointer'
      if (name !== undefined) found.push({ at, form, read: () => refuse('proof_malformed') }) // KEZ-ENC-14
    }
    pattern.lastIndex = match.index + (compact ?? pointer ?? 'kez:').length
  }
  return found
}

/** Steps 3 and 4. */
function collect(text: string): Candidate[] {
  const lines = linesOf(text)
  const found: Candidate[] = []
  const search = (from: number, to: number) => lines.slice(from, to).forEach((line) => found.push(...markers(line)))
  for (let i = 0; i < lines.length;) {
    const { text: line, at } = lines[i]
    if (/^ {0,3}<!--/.test(line)) {
      const last = lines.findIndex((l, j) => j >= i && l.text.includes('-->'))
      const end = last < 0 ? lines.length : last + 1
      search(i, end)
      i = end
      continue
    }
    const fence = opening(line)
    const close = fence ? lines.findIndex((l, j) => j > i && closes(l.text, fence)) : -1
    if (!fence || close < 0) {
      search(i, i + 1)
      i += 1
      continue
    }
    const first = fence.info.split(/[ \t]+/)[0]
    const content = trim(text.slice(lines[i + 1].at, lines[close].at))
    const marked = lines.slice(i + 1, close).some((l) => markers(l).length > 0)
    const isJson = content.startsWith('{') && (foreign(content) !== undefined || !marked)
    if (first === 'kez' && isJson) found.push({ at, form: 'markdown', read: () => fromJson(utf8ToBytes(content)) })
    else search(i, close + 1)
    i = close + 1
  }
  return found
}

/** What makes two proofs equal (step 5a). */
const nameOf = (proof: Claim | string) => (typeof proof === 'string' ? proof : `${proof.id} ${proof.sig}`)

/** The algorithm `find_proofs`. */
export function findProofs(given: string): Search {
  const marked = given.startsWith('\ufeff')
  const text = marked ? given.slice(1) : given
  const whole = trim(text)
  const read = () => (marked ? refuse('json_utf8') : fromJson(utf8ToBytes(whole)))
  const value = whole.startsWith('{') ? foreign(whole) : undefined
  if (isObject(value) && (Object.hasOwn(value, 'kez') || Object.hasOwn(value, 'payload'))) {
    return { candidates: [{ form: 'json', proof: attempt(read) }], incomplete: false }
  }
  const found = collect(text)
  const cut = whole.startsWith('{') && whole.includes('"payload"') && /"(?:kez|sigs)"/.test(whole)
  if (found.length === 0 && cut) found.push({ at: 0, form: 'json', read: () => fromJson(utf8ToBytes(whole)) })
  const candidates: Found[] = []
  const decoded = new Set<string>()
  let tried = 0
  for (const { form, read } of found) {
    if (tried >= MAX_TRIED || decoded.size >= MAX_DECODED) break
    tried += 1
    const proof = attempt(read)
    if (!(proof instanceof Refused)) {
      if (decoded.has(nameOf(proof))) continue
      decoded.add(nameOf(proof))
    }
    candidates.push({ form, proof })
  }
  return { candidates, incomplete: tried < found.length }
}
