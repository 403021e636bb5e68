/**
 * Sigchains.
 */
import * as check from './check.js'
import type { Head, Reason, Summary } from './data.js'
import { type Disposable, disposable } from './dispose.js'
import { KezChannelError } from './errors.js'
import type * as glue from './glue/kez_wasm.js'
import { call, Handle, signing } from './instance.js'
import { identityOf, sign, type Signer } from './key.js'

/** What an event does, as it stands in the signed event (SPEC.md, "Operations"). */
export type Operation =
  | { type: 'add'; subject: string; claim: string; account?: string; url?: string }
  | { type: 'revoke'; claim: string; reason: Reason; text?: string }
  | { type: 'revoke'; subject: string; reason: Reason; text?: string }
  | { type: 'rotate'; to: string; reason: Reason; compromised_since?: number }
  | { type: 'add_device'; device: string; caps?: string[]; not_after?: string; name?: string }
  | { type: 'revoke_device'; device: string; reason: Reason }

/** How an event is signed. */
export interface AppendOptions {
  /**
   * Who signs, in order: the current key; for `add_device` also the device; for `rotate` the old
   * and the new key, or the new one alone where the chain has committed to it.
   */
  signers: readonly Signer[]
  /** A commitment to the next key (see `commitment`). */
  next?: string | undefined
  /** When it is signed; now, if not given. */
  createdAt?: Date | number | undefined
}

/**
 * A sigchain whose every event was verified.
 *
 * ```js
 * using chain = Chain.start(key.identity)
 * await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [key] })
 * chain.export() // one line an event, to be published
 * ```
 */
export class Chain implements Disposable {
  readonly #handle: Handle<glue.Chain>

  private constructor(make: (wasm: typeof glue) => glue.Chain) {
    this.#handle = new Handle(make)
  }

  /** A chain without events, which that key's first event will start. */
  static start(primary: string): Chain {
    const value = check.text(primary, 'primary')
    return new Chain((wasm) => wasm.Chain.start(value))
  }

  /** Verifies a whole bundle. With `primary`, it must be that one's. */
  static replay(
    bundle: string | Uint8Array,
    options?: { primary?: string | undefined; now?: Date | number | undefined },
  ): Chain {
    const bytes = check.textOrBytes(bundle, 'bundle')
    const given = check.options(options, ['primary', 'now'], 'options')
    const primary = check.optionalText(given.primary, 'options.primary')
    const now = check.seconds(given.now ?? Date.now(), 'options.now')
    return new Chain((wasm) => wasm.Chain.replay(bytes, primary, now))
  }

  /** The identity's name: the key that started the chain. */
  get name(): string {
    return this.#handle.use((chain) => chain.name)
  }

  /** The last event; null before the first. */
  get head(): Head | null {
    return this.#handle.use((chain) => chain.head as Head | null)
  }

  /** The key that may sign the next event. */
  get currentKey(): string {
    return this.#handle.use((chain) => chain.currentKey)
  }

  /** What the chain says: keys, devices, claims and events. */
  summary(): Summary {
    return this.#handle.use((chain) => chain.summary() as Summary)
  }

  /** Signs the next event and appends it. If anything fails, the chain is as it was. */
  async append(operation: Operation, options: AppendOptions): Promise<Head> {
    const draft = await this.#draft(operation, options)
    return this.#take(draft, check.seconds(options.createdAt ?? Date.now(), 'options.createdAt'))
  }

  /**
   * Signs the next event with the signers at hand and appends nothing: another machine, which holds the
   * other signer, finishes it by {@link Chain.accept}. That is how a device joins whose key never leaves it.
   */
  async prepare(operation: Operation, options: AppendOptions): Promise<string> {
    return (await this.#draft(operation, options)).use((draft) => draft.text())
  }

  /** Adds signatures to what {@link Chain.prepare} gave elsewhere, and appends it. */
  async accept(prepared: string, options: { signers: readonly Signer[] }): Promise<Head> {
    signing()
    const text = check.textOrBytes(prepared, 'prepared')
    const { signers } = check.options(options, ['signers'], 'options')
    if (!Array.isArray(signers)) check.refuse('options.signers', 'an array', signers)
    const draft = new Handle((wasm) => wasm.Draft.fromText(text))
    for (const signer of signers) await sign(draft, signer)
    return this.#take(draft, 0)
  }

  async #draft(operation: Operation, options: AppendOptions): Promise<Handle<glue.Draft>> {
    signing()
    const op = check.json(operation, 'operation')
    const given = check.options(options, ['signers', 'next', 'createdAt'], 'options')
    if (!Array.isArray(given.signers)) check.refuse('options.signers', 'an array', given.signers)
    const next = check.optionalText(given.next, 'options.next')
    const at = check.seconds(given.createdAt ?? Date.now(), 'options.createdAt')
    for (const [n, signer] of given.signers.entries()) await identityOf(signer, `options.signers[${n}]`)
    const draft = new Handle((wasm) => wasm.Draft.event(this.#handle.inner(), op, next, at))
    for (const signer of given.signers) await sign(draft, signer)
    return draft
  }

  #take(draft: Handle<glue.Draft>, at: number): Head {
    const now = Math.max(at, Math.floor(Date.now() / 1000))
    this.#handle.use((chain) => draft.inner().appendTo(chain, now))
    return this.head as Head
  }

  /** Where a sigchain server has the chain: a source for claims. */
  urlAt(server: string): string {
    signing()
    const base = check.text(server, 'server').replace(/#.*/, '')
    return this.#handle.use((chain) => chain.serverUrl(base))
  }

  /**
   * Appends to a sigchain server what it does not have. `head_conflict` if it has other or newer events;
   * a second run changes nothing.
   */
  async publish(server: string, options?: { fetch?: typeof fetch | undefined; signal?: AbortSignal | undefined }): Promise<void> {
    signing()
    const given = check.options(options, ['fetch', 'signal'], 'options')
    const url = this.urlAt(server)
    const ask = async (body?: string) => {
      const how = body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': 'application/jsonl' } }
      const signal = given.signal ?? AbortSignal.timeout(30_000)
      try {
        const init: RequestInit = { ...how, signal, credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer', redirect: 'error' }
        const response = await (given.fetch ?? fetch)(url, init)
        return [response.status, new Uint8Array(await response.arrayBuffer())] as const
      } catch (cause) {
        given.signal?.throwIfAborted()
        throw new KezChannelError('connect_failed', `the sigchain server ${server}`, { kind: 'network', cause })
      }
    }
    const [status, body] = await ask()
    const lines = this.#handle.use((chain) => chain.missingAtServer(status, body, Math.floor(Date.now() / 1000)))
    if (lines === '') return
    const [answer, text] = await ask(lines)
    call((wasm) => wasm.appendedAtServer(answer, text))
  }

  /** The bundle: the same bytes from every implementation of KEZ. */
  export(): string {
    return this.#handle.use((chain) => chain.bundle())
  }

  /** @internal */
  inner(): glue.Chain {
    return this.#handle.inner()
  }

  /** Gives the memory back. */
  free(): void {
    this.#handle.free()
  }

  declare [Symbol.dispose]: () => void
}
disposable(Chain)

/** Verifies a fork object: two validly signed histories of one chain. */
export function verifyFork(
  fork: string | Uint8Array,
  options?: { now?: Date | number | undefined },
): { settled: boolean } {
  const bytes = check.textOrBytes(fork, 'fork')
  const now = check.seconds(check.options(options, ['now'], 'options').now ?? Date.now(), 'options.now')
  return { settled: call((wasm) => wasm.forkIsSettled(bytes, now)) }
}
