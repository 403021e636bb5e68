// One plain zstd frame (SPEC.md, KEZ-ENC-03). The frame is walked by RFC 8878 first, because decoders differ in what
// they take; only then does Node's decoder see it.

import { zstdDecompressSync } from 'node:zlib'
import { refuse } from './json.ts'

const MAX_OUTPUT = 8 * 1024
const MAX_WINDOW = 128 * 1024

const bad = (why: string): never => refuse('zstd_refused', why)

/** Step 5: the two low bits of Symbol_Compression_Modes, in a compressed block that has sequences. */
function checkBlock(block: Uint8Array): void {
  const byte = (at: number) => block[at] ?? bad('a block is cut off')
  const type = byte(0) & 3
  const format = (byte(0) >> 2) & 3
  let at: number
  if (type < 2) {
    const header = [1, 2, 1, 3][format]
    let size = 0
    for (let i = header - 1; i >= 0; i -= 1) size = size * 256 + byte(i)
    size = Math.floor(size / (header === 1 ? 8 : 16))
    at = header + (type === 0 ? size : 1)
  } else {
    const header = [3, 3, 4, 5][format]
    const bits = [10, 10, 14, 18][format]
    let fields = 0n
    for (let i = header - 1; i >= 0; i -= 1) fields = (fields << 8n) | BigInt(byte(i))
    at = header + Number((fields >> BigInt(4 + bits)) & ((1n << BigInt(bits)) - 1n))
  }
  const count = byte(at)
  if (count === 0) return
  const modes = byte(at + (count < 128 ? 1 : count < 255 ? 2 : 3))
  if (modes & 3) bad('reserved bits of the modes')
}

export function decompress(frame: Uint8Array): Uint8Array {
  const byte = (at: number) => frame[at] ?? bad('cut off')
  if ([0x28, 0xb5, 0x2f, 0xfd].some((b, i) => frame[i] !== b)) bad('magic')
  const descriptor = byte(4)
  if (descriptor & 0b0001_1011) bad('dictionary, reserved or unused bits')
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
  if ((single ? size : window) > MAX_WINDOW) bad('window')
  if (width > 0 && size > MAX_OUTPUT) refuse('too_large')
  for (let blocks = 1; ; blocks += 1) {
    if (blocks > 64) bad('blocks')
    const header = byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16)
    const kind = (header >> 1) & 3
    const length = header >> 3
    if (kind === 3) bad('block type')
    at += 3
    if (kind === 2) checkBlock(frame.subarray(at, at + length))
    at += kind === 1 ? 1 : length
    if (header & 1) break
  }
  if (descriptor & 0b100) at += 4
  if (at !== frame.length) bad('length')
  let out: Uint8Array
  try {
    out = zstdDecompressSync(frame, { maxOutputLength: MAX_OUTPUT })
  } catch (error) {
    return (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE' ? refuse('too_large') : bad('decoder')
  }
  return width > 0 && out.length !== size ? bad('size') : out
}
