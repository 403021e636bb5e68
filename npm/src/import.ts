/**
 * Reading what people have said of their accounts elsewhere. It has a WebAssembly module of its own,
 * `kez-import.wasm`, beside that of `kez`.
 *
 * @module
 */
import * as check from './check.js'
import type { Foreign } from './data.js'
import * as glue from './import-glue/kez_wasm.js'
import { Instance, type Source } from './instance.js'
import { runOn, type VerifyOptions } from './verifier.js'

export type { Foreign, ForeignLink } from './data.js'

const instance = new Instance<typeof glue>('kez/import', 'initImport')

/** Starts the module; to be awaited once, beside `init` of `kez`. */
export function initImport(source?: Source): Promise<void> {
  return instance.start(glue, () => source ?? new URL('./kez-import.wasm', import.meta.url))
}

const SOURCES = ['keyoxide', 'keybase', 'nip39', 'rel-me'] as const

/**
 * What somebody has said elsewhere of their accounts, and whether each account says the same. None of it counts for a
 * verdict: it has grades of its own, and tells for which accounts a KEZ proof is worth making.
 *
 * - `nip39`: the external identities of a nostr key.
 * - `rel-me`: the links of a page or domain, or of a fediverse or GitHub account.
 * - `keyoxide`: a profile, as in `aspe:host:ID`, an OpenPGP fingerprint or a mail address with a web key directory; or as
 *   bytes the file of an OpenPGP key or Ariadne signature profile.
 * - `keybase`: as bytes, what `https://keybase.io/_/api/1.0/user/lookup.json?usernames=…` gives.
 *
 * ```js
 * await initImport()
 * const { links } = await importFrom('nip39', 'npub1…')
 * for (const { identity, grade } of links) console.log(grade, identity) // mutual github:alice
 * ```
 */
export async function importFrom(
  source: Foreign['source'],
  subject: string | Uint8Array,
  options?: VerifyOptions,
): Promise<Foreign> {
  const from = check.word(source, SOURCES, 'source')
  const name = typeof subject === 'string' ? check.text(subject, 'subject') : undefined
  const file = name === undefined ? check.bytes(subject, 'subject') : undefined
  return runOn(instance, options, [], (verifier, signal, wake) => verifier.importFrom(from, name, file, signal, wake))
}
