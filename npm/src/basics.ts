/**
 * Identities, strict JSON and codes: functions without state.
 */
import * as check from './check.js'
import { call } from './instance.js'

/**
 * Turns what people type (a handle, URL, npub, domain, key) into a canonical identity, without the
 * network: `name@host` is read as a fediverse account. `verify` and `identity` also take nostr names
 * and pages, which need the network.
 *
 * ```js
 * parseIdentity('@Alice@Fosstodon.org') // 'ap:alice@fosstodon.org'
 * ```
 */
export function parseIdentity(input: string): string {
  const value = check.text(input, 'input')
  return call((wasm) => wasm.parseIdentity(value))
}

/**
 * Checks what people type, and returns it in one spelling: the identity, if it is known without the
 * network; otherwise the name (`alice@example.org`, `nostr:alice@example.org`) or page that `verify`
 * and `identity` resolve.
 *
 * ```js
 * readInput('@Alice@Fosstodon.org') // 'Alice@fosstodon.org'
 * ```
 */
export function readInput(input: string): string {
  const value = check.text(input, 'input')
  return call((wasm) => wasm.readInput(value))
}

/** Checks that a string is a canonical identity already, and returns it. */
export function canonicalIdentity(identity: string): string {
  const value = check.text(identity, 'identity')
  return call((wasm) => wasm.canonicalIdentity(value))
}

/** Where people look at an account, if there is such a page. */
export function profileUrl(identity: string): string | undefined {
  const value = check.text(identity, 'identity')
  return call((wasm) => wasm.profileUrl(value))
}

/** The name of a TXT record: in full, and as a provider's form for a zone wants it. */
export interface RecordName {
  full: string
  /** The zone in which the record probably is: a guess from the domain alone. */
  zone: string
  /** The name without that of the zone. */
  relative: string
}

/**
 * The name of the TXT record with a domain's proofs.
 *
 * ```js
 * dnsRecord('dns:blog.example.org').relative // '_kez.blog'
 * ```
 */
export function dnsRecord(identity: string): RecordName {
  const value = check.text(identity, 'identity')
  return call((wasm) => wasm.dnsRecord(value) as RecordName)
}

/**
 * The canonical form (RFC 8785) of strict JSON: no duplicate members, no fractions, no lone
 * surrogates. With `canonical: true` the input must be in that form already.
 */
export function canonicalize(json: string | Uint8Array, options?: { canonical?: boolean }): string {
  const bytes = check.textOrBytes(json, 'json')
  const { canonical } = check.options(options, ['canonical'], 'options')
  return call((wasm) => wasm.canonicalize(bytes, canonical === true))
}

/** The commitment to a next key, by the key's identity. */
export function commitment(identity: string): string {
  const value = check.text(identity, 'identity')
  return call((wasm) => wasm.commitment(value))
}

export { type CodeInfo, codes } from './explain.js'
