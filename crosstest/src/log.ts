// Transparency logs of sigchain servers (SPEC.md, "Transparency log"): the algorithm `believe`.
// Formats of C2SP: signed-note, tlog-checkpoint, tlog-cosignature; the tree of RFC 6962.

import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { base64 } from '@scure/base'
import { tried } from './channel.ts'
import { parseCanonical } from './encoding.ts'
import { readLine } from './event.ts'
import { attempt, foreign, type Json, Refused, refuse } from './json.ts'
import { ed25519Verifies, Members } from './object.ts'
import { bodyText, get, type Transport } from './transport.ts'

const MAX_SIGNATURES = 64

export type Checkpoint = { size: number; root: Uint8Array }
/** What a reader remembers of a server. `passed` are cached checkpoints that were believed once. */
export type Memory = { key?: string; largest?: Checkpoint; passed: Set<string> }
export type LogPolicy = { key?: string; witnesses?: string[] }

type NoteKey = { name: string; id: Uint8Array; algorithm: number; key: Uint8Array }

function fromBase64(text: string): Uint8Array {
  const bytes = attempt(() => {
    try {
      return base64.decode(text)
    } catch {
      return refuse('log_refused', 'base64')
    }
  })
  if (bytes instanceof Refused) throw bytes
  return bytes
}

/** A key of a signed note, `name+id+key`; the id is the digest's first four bytes. */
function readKey(text: string): NoteKey {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? refuse('log_refused', 'the key')
  const data = fromBase64(match[3])
  const id = sha256(concatBytes(utf8ToBytes(`${match[1]}\n`), data)).slice(0, 4)
  if (data.length !== 33 || bytesToHex(id) !== match[2]) refuse('log_refused', 'the key')
  return { name: match[1], id, algorithm: data[0], key: data.slice(1) }
}

type Note = { text: string; signatures: { name: string; data: Uint8Array }[] }

function readNote(note: string): Note {
  const at = note.lastIndexOf('\n\n')
  if (at < 0 || !note.endsWith('\n')) refuse('log_refused', 'the note')
  const lines = note
    .slice(at + 2)
    .split('\n')
    .slice(0, -1)
  if (lines.length < 1 || lines.length > MAX_SIGNATURES) refuse('log_refused', 'signatures')
  const signatures = lines.map((line) => {
    const match = /^\u2014 (\S+) (\S+)$/.exec(line) ?? refuse('log_refused', 'a signature line')
    return { name: match[1], data: fromBase64(match[2]) }
  })
  return { text: note.slice(0, at + 1), signatures }
}

/** Whether a key signed the note: the log by itself, a witness with a time before. */
function signed({ text, signatures }: Note, key: NoteKey): boolean {
  return signatures.some(({ name, data }) => {
    if (name !== key.name || bytesToHex(data.slice(0, 4)) !== bytesToHex(key.id)) return false
    const rest = data.slice(4)
    if (key.algorithm === 1) return rest.length === 64 && ed25519Verifies(rest, utf8ToBytes(text), key.key)
    if (key.algorithm !== 4 || rest.length !== 72) return false
    const time = BigInt(`0x${bytesToHex(rest.slice(0, 8))}`)
    return ed25519Verifies(rest.slice(8), utf8ToBytes(`cosignature/v1\ntime ${time}\n${text}`), key.key)
  })
}

function readCheckpoint(text: string): Checkpoint & { origin: string } {
  const [origin, size, root] = text.split('\n')
  if (!/^(?:0|[1-9][0-9]*)$/.test(size ?? '') || !Number.isSafeInteger(Number(size))) refuse('log_refused', 'the size')
  const hash = fromBase64(root ?? '')
  return hash.length === 32 ? { origin, size: Number(size), root: hash } : refuse('log_refused', 'the root')
}

const leaf = (entry: Uint8Array) => sha256(concatBytes(Uint8Array.of(0), entry))
const node = (left: Uint8Array, right: Uint8Array) => sha256(concatBytes(Uint8Array.of(1), left, right))
const equal = (a: Uint8Array, b: Uint8Array) => bytesToHex(a) === bytesToHex(b)

/** RFC 9162, 2.1.3.2: the root that an inclusion proof gives. */
export function included(index: number, { size, root }: Checkpoint, entry: Uint8Array, proof: Uint8Array[]): boolean {
  if (index >= size) return false
  let [fn, sn] = [BigInt(index), BigInt(size - 1)]
  let hash = leaf(entry)
  for (const p of proof) {
    if (sn === 0n) return false
    if ((fn & 1n) === 1n || fn === sn) {
      hash = node(p, hash)
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n]
    } else {
      hash = node(hash, p)
    }
    ;[fn, sn] = [fn >> 1n, sn >> 1n]
  }
  return sn === 0n && equal(hash, root)
}

/** RFC 9162, 2.1.4.2 */
export function extendsTree(old: Checkpoint, now: Checkpoint, proof: Uint8Array[]): boolean {
  if (old.size === 0) return true
  if (old.size > now.size) return false
  if (old.size === now.size) return proof.length === 0 && equal(old.root, now.root)
  const path = Number.isInteger(Math.log2(old.size)) ? [old.root, ...proof] : proof
  if (path.length === 0) return false
  let [fn, sn] = [BigInt(old.size - 1), BigInt(now.size - 1)]
  while ((fn & 1n) === 1n) [fn, sn] = [fn >> 1n, sn >> 1n]
  let [fr, sr] = [path[0], path[0]]
  for (const c of path.slice(1)) {
    if (sn === 0n) return false
    if ((fn & 1n) === 1n || fn === sn) {
      ;[fr, sr] = [node(c, fr), node(c, sr)]
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n]
    } else {
      sr = node(sr, c)
    }
    ;[fn, sn] = [fn >> 1n, sn >> 1n]
  }
  return sn === 0n && equal(fr, old.root) && equal(sr, now.root)
}

function hashes(list: Json[] | undefined, name: string): Uint8Array[] {
  return (list ?? refuse('member_missing', name)).map((item) => {
    if (typeof item !== 'string') refuse('member_type', name)
    const hash = fromBase64(item as string)
    return hash.length === 32 ? hash : refuse('log_refused', 'a hash')
  })
}

/** The bundle of an answer, and the proof line after it. */
export function splitProof(body: string): { bundle: string; line?: string } {
  const at = body.lastIndexOf('\n', body.length - 2) + 1
  return body.startsWith('{"checkpoint":', at) ? { bundle: body.slice(0, at), line: body.slice(at) } : { bundle: body }
}

/** The last event of a bundle, if it ends with one (step 3). */
export function lastEvent(bundle: string): { chain: string; id: string; seq: number } | undefined {
  const last = bundle.endsWith('\n') ? bundle.slice(0, -1).split('\n').at(-1)! : ''
  const read = attempt(() => readLine(utf8ToBytes(last)))
  if (read instanceof Refused) return undefined
  const { chain, id, seq } = read.event
  return { chain, id, seq }
}

export type Believed = {
  t: Transport
  server: string
  size?: number
  cached: boolean
  memory: Memory
  policy: LogPolicy
}

/** `head` is that of the bundle's last event, if it ends with one. */
export async function believe(
  line: string | undefined,
  head: { chain: string; id: string; seq: number } | undefined,
  { t, server, size, cached, memory, policy }: Believed,
): Promise<void> {
  const known = policy.key ?? memory.key
  if (line === undefined) return known === undefined ? undefined : refuse('log_refused', 'no proof line')
  if (head === undefined) return
  if (!line.endsWith('\n')) refuse('log_refused', 'the proof line is cut')
  const m = new Members(parseCanonical(utf8ToBytes(line.slice(0, -1))))
  const checkpoint = m.text('checkpoint')
  const consistency = hashes(m.optionalList('consistency'), 'consistency')
  const inclusion = hashes(m.optionalList('inclusion'), 'inclusion')
  const index = m.optionalInt('index') ?? refuse('member_missing', 'index')
  const keyText = m.text('key')
  m.end()
  if (index < 0) refuse('member_type', 'index')
  if (known !== undefined && known !== keyText) refuse('log_refused', 'another key')
  const key = readKey(keyText)
  const note = readNote(checkpoint)
  const mine = readCheckpoint(note.text)
  if (key.algorithm !== 1 || mine.origin !== key.name || !signed(note, key)) refuse('log_refused', 'the checkpoint')
  const witnesses = policy.witnesses ?? []
  const cosigned = witnesses.filter((w) => signed(note, readKey(w))).length
  if (witnesses.length > 0 && cosigned * 2 <= witnesses.length) refuse('log_unwitnessed')
  const entry = `{"chain":"${head.chain}","id":"${head.id}","seq":${head.seq}}`
  if (!included(index, mine, utf8ToBytes(entry), inclusion)) refuse('log_refused', 'the head is not in the log')
  const largest = memory.largest
  if (largest && !(cached && memory.passed.has(checkpoint))) {
    const [old, now] = largest.size <= mine.size ? [largest, mine] : [mine, largest]
    if (old.size === now.size) {
      if (!equal(old.root, now.root)) refuse('log_inconsistent', 'two roots of one size')
    } else if (old.size > 0) {
      const fits = size === old.size && now === mine
      const proof = fits ? consistency : await fetchConsistency(t, server, old.size, now.size)
      if (!extendsTree(old, now, proof)) refuse('log_inconsistent')
    }
  }
  memory.key = keyText
  memory.passed.add(checkpoint)
  if (!largest || mine.size > largest.size) memory.largest = { size: mine.size, root: mine.root }
}

async function fetchConsistency(t: Transport, server: string, from: number, to: number): Promise<Uint8Array[]> {
  const got = await tried(get(t, `${server}/v1/log/consistency?from=${from}&to=${to}`, 'same host'))
  if (got instanceof Refused) return refuse('log_refused', got.message)
  if (got.status !== 200) refuse('log_inconsistent', `status ${got.status}`)
  const list = foreign(bodyText(got))
  if (!Array.isArray(list)) return refuse('log_inconsistent', 'no list of hashes')
  const proof = attempt(() => hashes(list, 'consistency'))
  return proof instanceof Refused ? refuse('log_inconsistent', proof.message) : proof
}
