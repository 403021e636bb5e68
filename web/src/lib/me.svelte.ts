/** The identity of this browser: its key, its sigchain, and what of it is published. */
import {
  Chain,
  commitment,
  history,
  KezError,
  type Nip07,
  type Operation,
  SecretKey,
  type Signer,
  signerIdentity,
  type Summary,
} from 'kez'
import { schemeOf } from './files.ts'
import type { ByPasskey } from './passkey.ts'
import { sigServers, verifyOptions } from './settings.ts'
import { load, openMemory, save } from './store.ts'
import { type InBrowser, keepInBrowser, takeFromBrowser } from './wrapping.ts'

/** What is stored of it. */
interface Stored {
  /** The identity's name: its first key. */
  primary: string
  /** The key that signs now. */
  key: string
  /** Where the key is: here, in an extension, or in another browser whose device this one is. */
  where: 'here' | 'extension' | 'elsewhere'
  /** Without a passphrase: the secret under a key of this browser. */
  browser?: InBrowser
  /** With a passphrase: a key file. */
  file?: string
  /** And a passkey besides. */
  passkey?: ByPasskey
  /** Whether the recovery phrase was tested. */
  tested?: boolean
  /** A commitment to a next key, which goes into the next event. */
  next?: string
  /** After how many minutes without use the key is locked; 0 is never. */
  lockAfter?: number
  /** The handle of the chat. */
  handle?: { name: string; server: string }
  /** This browser's device in the chat, where it has one. */
  device?: string
}

declare global {
  interface Window {
    nostr?: Nip07
  }
}

// How else a key is kept comes once it is.
const keyfile = () => import('./keyfile.ts')
const passkeys = () => import('./passkey.ts')

const fromBytes = (identity: string, bytes: Uint8Array) => SecretKey.fromBytes(schemeOf(identity), bytes)

class Me {
  stored = $state.raw<Stored>()
  summary = $state.raw<Summary>()
  /** Whether the key can sign without asking for a passphrase. */
  open = $state(false)
  /** What kept the chain from a server when it was published last. */
  unpublished = $state.raw<unknown>()
  #chain: Chain | undefined
  #key: SecretKey | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #loaded: Promise<void> | undefined

  /** Reads what is stored; once is enough. */
  load(): Promise<void> {
    this.#loaded ??= (async () => {
      const stored = await load<Stored>('me')
      if (stored === undefined) return
      const bundle = await load<string>('chain')
      this.#take(chainOf(stored.primary, bundle))
      this.stored = stored
      if (stored.browser !== undefined) {
        this.#unlocked(fromBytes(stored.key, await takeFromBrowser(stored.browser)))
      }
      this.open = this.#key !== undefined || stored.where === 'extension'
    })()
    return this.#loaded
  }

  /** The chain. */
  get chain(): Chain {
    if (this.#chain === undefined) throw new Error('no identity')
    return this.#chain
  }

  /** What signs. */
  get signer(): Signer {
    if (this.stored?.where === 'extension' && window.nostr !== undefined) return window.nostr
    if (this.#key === undefined) throw new KezError('passphrase_needed', 'the key is locked', { kind: 'storage' })
    this.#busy()
    return this.#key
  }

  /** A nostr key that signs here: the identity's own, or the one of an extension. */
  get nostr(): SecretKey | Nip07 | undefined {
    return this.#key?.identity.startsWith('nostr:') === true ? this.#key : window.nostr
  }

  /** The secret key, to show or store it in another form. */
  get secret(): SecretKey {
    const { signer } = this
    if (!(signer instanceof SecretKey)) throw new KezError('passphrase_needed', 'the key is not here', { kind: 'storage' })
    return signer
  }

  #take(chain: Chain): void {
    if (this.#chain !== chain) this.#chain?.free()
    this.#chain = chain
    this.summary = chain.summary()
  }

  #changed(changed: Partial<Stored>, dropped: (keyof Stored)[]): Stored {
    const stored = { ...(this.stored as Stored), ...changed }
    for (const name of dropped) delete stored[name]
    return stored
  }

  /** Stores what changed, and drops what is no longer so. */
  async #store(changed: Partial<Stored>, dropped: (keyof Stored)[] = []): Promise<void> {
    const stored = this.#changed(changed, dropped)
    await save({ me: stored })
    this.stored = stored
  }

  /** As {@link Me.#store}, with the chain that it goes with: both, or neither. */
  async #keep(chain: Chain, changed: Partial<Stored> = {}, dropped: (keyof Stored)[] = []): Promise<void> {
    const stored = this.#changed(changed, dropped)
    await save({ me: stored, chain: chain.export() })
    this.stored = stored
    this.#take(chain)
  }

  #unlocked(key: SecretKey): void {
    this.#key = key
    this.open = true
    this.#busy()
  }

  /** Puts the lock off. */
  #busy(): void {
    clearTimeout(this.#timer)
    const minutes = this.stored?.lockAfter ?? 15
    if (minutes > 0 && this.stored?.file !== undefined) this.#timer = setTimeout(() => this.lock(), minutes * 60_000)
  }

  /** Makes an identity of a fresh key. */
  make(): Promise<void> {
    return this.adopt(SecretKey.generate('ed25519'))
  }

  /**
   * Makes a key that came from elsewhere this browser's own, with the chain that it stands for: its own, or
   * that of an identity whose key was changed to it. `chain_signer` if it is not the key of that one.
   */
  async adopt(key: SecretKey, primary = key.identity): Promise<void> {
    const chain = await publishedChain(primary)
    if (chain.currentKey !== key.identity) throw new KezError('chain_signer', primary, { kind: 'chain', detail: primary })
    // Whatever a browser promises, a backup is better.
    void navigator.storage.persist()
    const browser = await keepInBrowser(key.exposeBytes())
    await this.#keep(chain, { primary, key: key.identity, where: 'here', browser })
    this.#unlocked(key)
  }

  /** Uses the key of a nostr extension. */
  async useExtension(): Promise<void> {
    if (window.nostr === undefined) throw new KezError('signer_failed', 'no extension')
    const key = await signerIdentity(window.nostr)
    await this.#keep(await publishedChain(key), { primary: key, key, where: 'extension' })
    this.open = true
  }

  /** Signs the next event, and appends nothing yet. */
  async prepare(operation: Operation, extra: Signer[] = []): Promise<string> {
    // Another browser may have added to it: two events after one head would be a fork.
    await this.refresh().catch(() => undefined)
    const next = this.summary?.next_committed === true ? undefined : this.stored?.next
    return this.chain.prepare(operation, { signers: [this.signer, ...extra], next })
  }

  /** The bundle that there would be with a prepared event. */
  async with(event: string): Promise<string> {
    const { primary } = this.stored as Stored
    const chain = chainOf(primary, this.chain.export())
    try {
      await chain.accept(event, { signers: [] })
      return chain.export()
    } finally {
      chain.free()
    }
  }

  /** Appends a prepared event, and publishes the chain. */
  async accept(event: string): Promise<Published> {
    await this.chain.accept(event, { signers: [] })
    await this.#keep(this.chain, {}, ['next'])
    return this.publish()
  }

  /** Signs and appends an event, and publishes the chain. */
  async append(operation: Operation, extra: Signer[] = []): Promise<Published> {
    return this.accept(await this.prepare(operation, extra))
  }

  /** Appends to every sigchain server what it does not have. */
  async publish(): Promise<Published> {
    const servers = sigServers()
    if (servers.length === 0) return 'nowhere'
    const done = await Promise.allSettled(servers.map((server) => this.chain.publish(server)))
    this.unpublished = done.find((one) => one.status === 'rejected')?.reason
    return done.some(({ status }) => status === 'fulfilled') ? 'done' : 'failed'
  }

  /** Takes the newer events of the chain that were made elsewhere. */
  async refresh(): Promise<void> {
    const chain = await publishedChain((this.stored as Stored).primary)
    if ((chain.head?.seq ?? 0) > (this.chain.head?.seq ?? 0)) await this.#keep(chain)
  }

  /** A passphrase protects the key from now on, and nothing else does but a passkey. */
  async setPassphrase(passphrase: string): Promise<void> {
    const file = await (await keyfile()).makeFile(this.secret, passphrase)
    await this.#store({ file }, ['browser'])
    this.#busy()
  }

  async unlock(passphrase: string): Promise<void> {
    const { file, key } = this.stored as Stored
    if (file !== undefined) this.#unlocked(await (await keyfile()).openFile(file, passphrase, key))
  }

  async unlockByPasskey(): Promise<boolean> {
    const { passkey, key } = this.stored as Stored
    const bytes = passkey && (await (await passkeys()).takeByPasskey(passkey))
    if (bytes !== undefined) this.#unlocked(fromBytes(key, bytes))
    return bytes !== undefined
  }

  /** Adds a passkey; false where that cannot be had. */
  async addPasskey(): Promise<boolean> {
    const passkey = await (await passkeys()).keepByPasskey(this.secret.exposeBytes(), `KEZ ${this.stored?.handle?.name ?? this.stored?.primary.slice(0, 20)}`)
    if (passkey !== undefined) await this.#store({ passkey })
    return passkey !== undefined
  }

  removePasskey = () => this.#store({}, ['passkey'])

  lock(): void {
    if (this.stored?.file === undefined) return
    clearTimeout(this.#timer)
    this.#key?.free()
    this.#key = undefined
    this.open = false
  }

  setLockAfter = (minutes: number) => this.#store({ lockAfter: minutes }).then(() => this.#busy())
  setTested = () => this.#store({ tested: true })
  setHandle = (name: string, server: string, device: string) => this.#store({ handle: { name, server }, device })

  /** The commitment goes into the next event. */
  commitTo = (next: string) => this.#store({ next: commitment(next) })

  /**
   * Changes the key. `signers` are the old and the new one, or the new one alone where the chain has
   * committed to it. The new one is then kept in this browser, and is to be protected anew.
   */
  async rotate(to: SecretKey, reason: 'superseded' | 'compromised'): Promise<Published> {
    await this.refresh().catch(() => undefined)
    const signers = this.summary?.next_committed === true ? [to] : [this.signer, to]
    const browser = await keepInBrowser(to.exposeBytes())
    await this.chain.append({ type: 'rotate', to: to.identity, reason }, { signers })
    const changed = { key: to.identity, where: 'here', browser } as const
    await this.#keep(this.chain, changed, ['file', 'passkey', 'tested', 'next'])
    this.#unlocked(to)
    return this.publish()
  }

  /** Becomes a device of an identity whose key is elsewhere. */
  async join(primary: string, prepared: string, device: SecretKey, handle: Stored['handle']): Promise<void> {
    const chain = await publishedChain(primary)
    await chain.accept(prepared, { signers: [device] })
    if (!chain.summary().devices.some(({ key }) => key === device.identity)) {
      throw new KezError('device_unknown', 'the answer is for another device')
    }
    await this.#keep(chain, { primary, key: primary, where: 'elsewhere', ...(handle === undefined ? {} : { handle }) })
    await this.publish()
  }
}

export type Published = 'done' | 'failed' | 'nowhere'
export const me = new Me()

/** The chain of an identity, as it is published; an empty one where there is none. */
async function publishedChain(primary: string): Promise<Chain> {
  const found = await history(primary, { ...verifyOptions(), memory: await openMemory() })
  return chainOf(primary, found.bundle)
}

/** A chain from its bundle; the empty one has none. */
function chainOf(primary: string, bundle: string | null | undefined): Chain {
  return bundle ? Chain.replay(bundle, { primary }) : Chain.start(primary)
}
