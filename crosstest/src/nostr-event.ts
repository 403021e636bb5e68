// Events of nostr (NIP-01), and which of them match a filter.

import { schnorr } from '@noble/curves/secp256k1.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { isObject } from './json.ts'

export type NostrEvent = {
  id: string
  pubkey: string
  created_at: number
  kind: number
  tags: string[][]
  content: string
  sig: string
}
export type Filter = { [name: string]: any }

/** What a page counts: a string `id` and an integer `created_at`. */
export const counts = (value: unknown): value is NostrEvent =>
  isObject(value) && typeof value.id === 'string' && Number.isSafeInteger(value.created_at)

export const tagsOf = (event: NostrEvent): string[][] =>
  Array.isArray(event.tags) ? event.tags.filter((t) => Array.isArray(t) && t.every((x) => typeof x === 'string')) : []

export function matches(event: NostrEvent, filter: Filter): boolean {
  return Object.entries(filter).every(([name, wanted]) => {
    if (name === 'ids') return wanted.includes(event.id)
    if (name === 'authors') return wanted.includes(event.pubkey)
    if (name === 'kinds') return wanted.includes(event.kind)
    if (name.startsWith('#')) return tagsOf(event).some(([n, v]) => n === name.slice(1) && wanted.includes(v))
    return true
  })
}

/** Whether the id and the signature of an event are right. */
export function isGenuine(event: NostrEvent): boolean {
  try {
    const { pubkey, created_at, kind, tags, content } = event
    const id = sha256(utf8ToBytes(JSON.stringify([0, pubkey, created_at, kind, tags, content])))
    return bytesToHex(id) === event.id && schnorr.verify(hexToBytes(event.sig), id, hexToBytes(pubkey))
  } catch {
    return false
  }
}
