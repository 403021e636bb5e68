/**
 * Keys, and other things that sign.
 */
import * as check from './check.js'
import { type Disposable, disposable } from './dispose.js'
import { KezError, KezStorageError } from './errors.js'
import { call, Handle, signing } from './instance.js'
import type * as glue from './glue/kez_wasm.js'

/** The kinds of keys. */
export type KeyKind = 'ed25519' | 'nostr'

const KINDS = ['ed25519', 'nostr'] as const

/**
 * A secret key. It lives in the WebAssembly memory and is wiped there by {@link free}; copies that
 * you hold as strings or bytes are yours to forget.
 *
 * ```js
 * using key = SecretKey.generate('ed25519')
 * key.identity // 'ed25519:…'
 * ```
 */
export class SecretKey implements Disposable {
  /** The public identity. */
  readonly identity: string
  readonly #handle: Handle<glue.SecretKey>

  private constructor(make: (wasm: typeof glue) => glue.SecretKey) {
    signing()
    this.#handle = new Handle(make)
    this.identity = this.#handle.use((key) => key.identity)
  }

  /** A fresh key of the host's randomness. */
  static generate(kind: KeyKind = 'ed25519'): SecretKey {
    const value = check.word(kind, KINDS, 'kind')
    return new SecretKey((wasm) => wasm.SecretKey.generate(value))
  }

  /** From 32 bytes: an Ed25519 seed, or a secp256k1 scalar. */
  static fromBytes(kind: KeyKind, secret: Uint8Array): SecretKey {
    const value = check.word(kind, KINDS, 'kind')
    const seed = check.bytes(secret, 'secret', 32)
    return new SecretKey((wasm) => wasm.SecretKey.fromBytes(value, seed))
  }

  /** From `nsec1…`, or 64 hex digits of that kind of key. */
  static fromText(kind: KeyKind, secret: string): SecretKey {
    const value = check.word(kind, KINDS, 'kind')
    const digits = check.text(secret, 'secret')
    return new SecretKey((wasm) => wasm.SecretKey.fromText(value, digits))
  }

  /**
   * From a key file, as the command keeps them and {@link SecretKey.encrypt} makes them. It takes 64 MiB of
   * memory and a good second of computing, on this thread: pages do it in a worker.
   */
  static decrypt(file: string, passphrase: string): SecretKey {
    const [text, words] = [check.text(file, 'file'), check.text(passphrase, 'passphrase')]
    return new SecretKey((wasm) => wasm.SecretKey.fromFile(text, words))
  }

  /** A key file that the passphrase opens (Argon2id, XChaCha20-Poly1305); as slow as {@link SecretKey.decrypt}. */
  encrypt(passphrase: string): string {
    const words = check.text(passphrase, 'passphrase')
    return this.#handle.use((key) => key.toFile(words))
  }

  /** The secret as people carry it: `nsec1…`, or 64 hex digits. */
  exposeText(): string {
    return this.#handle.use((key) => key.exposeText())
  }

  /** The 32 secret bytes, for storing them encrypted. */
  exposeBytes(): Uint8Array {
    return this.#handle.use((key) => key.exposeBytes())
  }

  /** @internal */
  signDraft(draft: Handle<glue.Draft>): void {
    this.#handle.use((key) => draft.inner().sign(key))
  }

  /** @internal */
  inner(): glue.SecretKey {
    return this.#handle.inner()
  }

  /** What logs show: never the secret. */
  toJSON(): string {
    return `SecretKey(${this.identity})`
  }

  /** As {@link toJSON}. */
  toString(): string {
    return this.toJSON()
  }

  /** Wipes the key. */
  free(): void {
    this.#handle.free()
  }

  declare [Symbol.dispose]: () => void
}
disposable(SecretKey)

/** Whose key a key file has, and whether a passphrase protects it. */
export function keyFile(file: string): { identity: string; encrypted: boolean } {
  signing()
  const text = check.text(file, 'file')
  const [identity, encrypted] = call((wasm) => wasm.keyFile(text)) as [string, boolean]
  return { identity, encrypted }
}

/**
 * A key that lives elsewhere: in WebCrypto, a hardware token, another process. `sign` gets the 32
 * bytes to sign, and gives 64 bytes: Ed25519 (RFC 8032) or BIP-340, as the identity says.
 */
export interface ExternalSigner {
  /** The key's identity, `ed25519:…` or `nostr:…`. */
  identity: string
  /** Signs. */
  sign(digest: Uint8Array): Uint8Array | Promise<Uint8Array>
}

/** A nostr event that waits for its author's signature. */
export interface EventTemplate {
  kind: number
  created_at: number
  tags: string[][]
  content: string
}

/** What extensions offer as `window.nostr` (NIP-07). They sign the suite `nostr-event`. */
export interface Nip07 {
  getPublicKey(): Promise<string>
  signEvent(event: EventTemplate): Promise<{ pubkey?: string; sig: string }>
}

/** Everything that can sign. */
export type Signer = SecretKey | ExternalSigner | Nip07

function isNip07(signer: ExternalSigner | Nip07): signer is Nip07 {
  return typeof (signer as Nip07).signEvent === 'function'
}

/** The identity of what signs; refuses what cannot. */
export async function identityOf(signer: Signer, name = 'signer'): Promise<string> {
  if (signer instanceof SecretKey) return signer.identity
  if (typeof signer !== 'object' || signer === null) {
    check.refuse(name, 'a SecretKey, a signer or a NIP-07 provider', signer)
  }
  if (isNip07(signer)) {
    const digits = await ask(() => signer.getPublicKey())
    const value = check.text(digits, `${name}.getPublicKey()`)
    return call((wasm) => wasm.nostrIdentity(value))
  }
  if (typeof signer.sign !== 'function') {
    check.refuse(name, 'a SecretKey, a signer or a NIP-07 provider', signer)
  }
  const value = check.text(signer.identity, `${name}.identity`)
  return call((wasm) => wasm.canonicalIdentity(value))
}

/**
 * Adds a signer's signature to a draft.
 *
 * @internal
 */
export async function sign(draft: Handle<glue.Draft>, signer: Signer): Promise<void> {
  if (signer instanceof SecretKey) return signer.signDraft(draft)
  if (isNip07(signer)) {
    const event = draft.use((d) => d.nostrEvent() as EventTemplate)
    const wanted = await identityOf(signer, 'signer')
    const signed = await ask(() => signer.signEvent(event))
    const pubkey = signed?.pubkey ?? (await ask(() => signer.getPublicKey()))
    const json = JSON.stringify({ pubkey, sig: signed?.sig })
    const both = call((wasm) => wasm.nostrSignature(json))
    draft.use((d) => d.attach(wanted, 'nostr-event', both.subarray(32)))
    return
  }
  const identity = await identityOf(signer, 'signer')
  const digest = draft.use((d) => d.digest)
  const signature = check.bytes(await ask(() => signer.sign(digest)), 'the signature', 64)
  const suite = identity.startsWith('nostr:') ? 'bip340' : 'ed25519'
  draft.use((d) => d.attach(identity, suite, signature))
}

/**
 * What signs nostr events, by a key or a NIP-07 provider; one each time that it is called.
 *
 * @internal
 */
export async function eventAuthor(key: SecretKey | Nip07, name: string): Promise<() => glue.EventAuthor> {
  if (key instanceof SecretKey) return () => call((wasm) => wasm.EventAuthor.fromKey(key.inner()))
  const identity = await identityOf(key, name)
  if (!isNip07(key)) check.refuse(name, 'a SecretKey or a NIP-07 provider', key)
  const sign = async (event: EventTemplate) =>
    check.text((await ask(() => key.signEvent(event)))?.sig, 'the signature')
  return () => call((wasm) => wasm.EventAuthor.fromSigner(identity, sign))
}

/** Calls somebody else's signer; what it throws is kept as the cause. */
async function ask<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof KezError) throw error
    throw new KezStorageError('signer_failed', 'the signer declined, or failed', {
      kind: 'storage',
      cause: error,
    })
  }
}
