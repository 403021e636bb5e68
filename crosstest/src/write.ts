// The writing side: claims and events (SPEC.md, "Claims", "Sigchain").

import { ed25519 } from '@noble/curves/ed25519.js'
import { schnorr } from '@noble/curves/secp256k1.js'
import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { base64urlnopad } from '@scure/base'
import { zstdCompressSync } from 'node:zlib'
import { toNpub } from './identity.ts'
import type { JsonObject } from './json.ts'
import { digest, jcs } from './object.ts'

export type Signer = { key: string; sign: (message: Uint8Array) => { suite: string; sig: Uint8Array } }

export function signer(type: string, secretHex: string): Signer {
  const secret = hexToBytes(secretHex)
  if (type === 'nostr') {
    return {
      key: `nostr:${toNpub(schnorr.getPublicKey(secret))}`,
      sign: (message) => ({ suite: 'bip340', sig: schnorr.sign(message, secret) }),
    }
  }
  return {
    key: `ed25519:${bytesToHex(ed25519.getPublicKey(secret))}`,
    sign: (message) => ({ suite: 'ed25519', sig: ed25519.sign(message, secret) }),
  }
}

export function seal(payload: JsonObject, signers: Signer[]): JsonObject {
  const id = digest(payload.type as string, jcs(payload))
  const sigs = signers.map(({ key, sign }) => {
    const { suite, sig } = sign(id)
    return { key, suite, sig: bytesToHex(sig) }
  })
  return { kez: 1, payload, sigs }
}

/** A claim in one of the forms of SPEC.md, "Encodings". */
export function encode(envelope: JsonObject, form: string): string {
  const { subject, primary } = envelope.payload as { subject: string; primary: string }
  const json = jcs(envelope)
  const compact = `kez:z1:${base64urlnopad.encode(zstdCompressSync(utf8ToBytes(json)))}`
  switch (form) {
    case 'json':
      return json
    case 'compact':
      return compact
    case 'markdown':
      return `I claim that \`${subject}\` is mine.\n\n~~~kez\n${compact}\n~~~\n`
    case 'dns': {
      const strings = compact.match(/.{1,255}/g)!.map((part) => `"${part}"`)
      return `_kez.${subject.slice('dns:'.length)}. 300 IN TXT ${strings.join(' ')}`
    }
    case 'pointer':
      return `kez:${primary}`
  }
  throw new Error('json, compact, markdown, dns or pointer')
}

export function utcNow(): string {
  return new Date().toISOString().replace(/\.[0-9]+/, '')
}
