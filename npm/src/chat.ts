/**
 * Chat, end to end encrypted, with people whose identity is verified: MLS on the devices of
 * sigchains (SPEC.md, "Chat"). Its WebAssembly, `kez-chat.wasm`, is loaded into the instance of
 * that of `kez`.
 *
 * @module
 */
import { Chain } from './chain.js'
import * as check from './check.js'
import type { Code } from './data.js'
import { KezError } from './errors.js'
import type * as glue from './glue/kez_wasm.js'
import { call, Handle, main, Part, type Source } from './instance.js'
import { identityOf, SecretKey, sign, type Signer } from './key.js'
import { history, type VerifyOptions } from './verifier.js'

export { browserStorage, type BrowserStorage, type ChatStorage, memoryStorage } from './chat-storage.js'
import type { ChatStorage } from './chat-storage.js'

const part = new Part('chat', 'initChat')

/** Loads chat into the instance of `kez`; to be awaited once, after `init` or beside it. */
export function initChat(source?: Source): Promise<void> {
  return part.start(() => source ?? new URL('./kez-chat.wasm', import.meta.url))
}

/** A conversation. */
export interface Conversation {
  /** Its name, 64 hex digits. */
  id: string
  /** `request`: somebody whom one never wrote to has begun it; `removed`: this device was removed, or its owner has left. */
  state: 'active' | 'request' | 'removed'
  /** What it is: of two people, or a group with its admins. */
  about: { kind: 'direct' | 'group'; name: string | null; people: string[] }
  /** Who is in it, by primary. */
  people: string[]
  /** How many devices they have in it. */
  devices: number
  /** How many changes there were. */
  epoch: number
  /** How many entries its history has. */
  entries: number
  /** How many messages wait to be posted. */
  waiting: number
}

/** An entry of a history. */
export interface ChatEntry {
  /** Its place, from 0. */
  index: number
  /** When its author wrote it, or when it came. */
  at: string
  /** Who wrote it, by primary. */
  from: string | null
  /** With which device. */
  device: string | null
  /** The message's name. */
  id: string | null
  /** What it is. */
  kind: 'text' | 'unknown' | 'joined' | 'left' | 'changed' | 'refused'
  /** The text, the person, or the code. */
  about?: string
  /** Why it is not to be trusted, if it is not. */
  doubt: Code | null
}

/** Somebody else. */
export interface Contact {
  primary: string
  handle: string
  sources: string[]
  devices: string[]
  verified: string[] | null
  checked_at: string
  head: { seq: number; id: string } | null
}

/** What a client works with. */
export interface ChatOptions {
  /** The device's key, an Ed25519 key that the sigchain names with `chat/1`. */
  device: SecretKey
  /** Where everything is kept, encrypted. One client at a time may use it. */
  storage: ChatStorage
  /** How identities are verified: sources, servers, memory. */
  verify?: VerifyOptions | undefined
  /** Instead of the global one. */
  fetch?: typeof fetch | undefined
}

/** What a registration needs besides. */
export interface RegisterOptions extends ChatOptions {
  /** The handle. */
  handle: string
  /** The server's origin, as in `https://chat.example`. */
  server: string
  /** One's own sigchain, with the device on it. */
  chain: Chain
  /**
   * The key that stands for the identity. A device that has not got it, but is on the chain already, is
   * brought to the handle that its owner has at the server.
   */
  owner?: Signer | undefined
}

const OPTIONS = ['device', 'storage', 'verify', 'fetch']

/** The `fetch` to use. A browser's own refuses to be called as a method of something else. */
function asking(given: ChatOptions): typeof fetch {
  const ask = given.fetch ?? fetch
  return (input, init) => ask(input, init)
}

/** What the core asks of this page. */
function page(given: ChatOptions) {
  const ask = asking(given)
  return {
    now: () => Date.now(),
    load: (name: string) => given.storage.get(name),
    save: (name: string, data?: Uint8Array) => (data === undefined ? given.storage.delete(name) : given.storage.set(name, data)),
    names: () => given.storage.names(),
    history: (primary: string, sources: string[]) => {
      const more = given.verify?.sources ?? []
      return history(primary, { ...given.verify, sources: [...more, ...sources] })
    },
    async call(method: string, url: string, authorization?: string, kind?: string, body?: string) {
      const headers: Record<string, string> = {}
      if (authorization !== undefined) headers.authorization = authorization
      if (kind !== undefined) headers['content-type'] = kind
      let response: Response
      try {
        const signal = AbortSignal.timeout(30_000)
        response = await ask(url, {
          method,
          headers,
          signal,
          credentials: 'omit',
          cache: 'no-store',
          referrerPolicy: 'no-referrer',
          redirect: 'error',
          ...(body === undefined ? {} : { body }),
        })
        return [response.status, new Uint8Array(await response.arrayBuffer())]
      } catch (error) {
        const late = error instanceof Error && error.name === 'TimeoutError'
        throw Object.assign(new Error(late ? 'after 30 s' : 'the chat server'), { code: late ? 'timeout' : 'connect_failed' })
      }
    },
  }
}

/** A new record of the handle, signed. */
async function signed(handle: string, server: string, primary: string, owner: Signer): Promise<string> {
  await identityOf(owner, 'options.owner')
  const draft = new Handle((wasm) => wasm.Draft.handle(handle, server, primary, [], Math.floor(Date.now() / 1000)))
  try {
    await sign(draft, owner)
    return draft.use((d) => d.text())
  } finally {
    draft.free()
  }
}

/** The record that the server has; what comes of it is checked like any other. */
async function known(given: ChatOptions, handle: string, server: string): Promise<string> {
  const [status, body] = (await page(given).call('GET', `${server}/v1/handles/${encodeURIComponent(handle)}`)) as [number, Uint8Array]
  const { record, code } = JSON.parse(new TextDecoder().decode(body)) as { record?: string; code?: Code }
  if (status !== 200 || record === undefined) {
    throw new KezError(code ?? 'response_refused', `${handle} at ${server}`, { kind: 'network', detail: handle })
  }
  return record
}

/**
 * A device that chats.
 *
 * ```js
 * const storage = await browserStorage('alice')
 * const chat = await Chat.register({ device, storage, handle: 'alice', server, chain, owner })
 * const conversation = await chat.direct('bob')
 * await chat.send(conversation, 'hello')
 * for await (const entry of chat.listen()) console.log(entry.about)
 * ```
 */
export class Chat {
  readonly #held: Handle<glue.Chat>
  readonly #fetch: typeof fetch
  /** One thing after the other: two at once would use one key twice. */
  #queue: Promise<unknown> = Promise.resolve()

  private constructor(inner: glue.Chat, given: ChatOptions) {
    this.#held = new Handle(() => inner)
    this.#fetch = asking(given)
  }

  get #inner(): glue.Chat {
    return this.#held.inner()
  }

  /** Takes a device up that was registered with this storage. */
  static async open(options: ChatOptions): Promise<Chat> {
    const given = check.options(options, OPTIONS, 'options')
    return new Chat(await Chat.#begin(given, 'open'), given)
  }

  /** Registers a handle, or a further device of one's own handle. */
  static async register(options: RegisterOptions): Promise<Chat> {
    const given = check.options(options, [...OPTIONS, 'handle', 'server', 'chain', 'owner'], 'options')
    check.instance(given.device, SecretKey, 'options.device')
    const chain = check.instance(given.chain, Chain, 'options.chain')
    const handle = check.text(given.handle, 'options.handle')
    const server = check.text(given.server, 'options.server').replace(/\/$/, '')
    const { owner } = given
    const record = await (owner === undefined ? known(given, handle, server) : signed(handle, server, chain.name, owner))
    return new Chat(await Chat.#begin(given, 'register', [record, chain.export()]), given)
  }

  /**
   * Ends the device of this storage, and gives all that it kept, encrypted under its key. With both,
   * {@link Chat.import} takes it up elsewhere, once: a device that lives twice loses messages. No client may be open.
   * Cut off, it can be done again and gives the same, until the storage is deleted.
   */
  static async export(options: ChatOptions): Promise<Uint8Array> {
    return Chat.#begin(check.options(options, OPTIONS, 'options'), 'export')
  }

  /** Takes a device up that {@link Chat.export} has ended elsewhere, in a storage that has no device. */
  static async import(options: ChatOptions, state: Uint8Array): Promise<Chat> {
    const given = check.options(options, OPTIONS, 'options')
    return new Chat(await Chat.#begin(given, 'import', [], check.bytes(state, 'state')), given)
  }

  /** Has the module begin or end something (`begin` in kez-wasm says what there is). */
  static async #begin<T>(given: ChatOptions, what: string, words: string[] = [], blob: Uint8Array = new Uint8Array()): Promise<T> {
    const seed = check.instance(given.device, SecretKey, 'options.device').exposeBytes()
    part.check()
    return main.drive((wake) => call((wasm) => wasm.Chat.begin(page(given), seed, what, words, blob, wake)))
  }

  /** Has the module do something, with these words (`work` in kez-wasm says what there is). */
  #run<T>(what: string, ...words: string[]): Promise<T> {
    const next = this.#queue.then(() => main.drive<string>((wake) => this.#inner.run(what, words, wake)))
    this.#queue = next.catch(() => undefined)
    return next.then((text) => JSON.parse(text) as T)
  }

  /** This device's account. */
  get account(): { handle: string; server: string; primary: string; device: string } {
    return JSON.parse(this.#held.use((inner) => inner.account()))
  }

  /**
   * What a client of the NATS behind the server sends as its `sig`, for the nonce that NATS gave the connection. It may
   * then subscribe to `kez.chat.inbox.<handle>`, if the server's operator lets devices in.
   *
   * ```js
   * const authenticator = (nonce) => ({ sig: chat.natsSignature(nonce) })
   * const nats = await wsconnect({ servers, authenticator })
   * ```
   */
  natsSignature(nonce: string): string {
    const text = check.text(nonce, 'nonce')
    return this.#held.use((inner) => inner.natsSignature(text, Date.now()))
  }

  /** Takes what waits at the server, and posts what waits here. */
  async sync(): Promise<void> {
    await this.#run('sync')
  }

  /** Brings devices of one's own that are new on the sigchain into the conversations; `listen` does so as it begins. */
  async admit(): Promise<void> {
    await this.#run('admit')
  }

  /** The conversation with somebody, begun if there is none. */
  async direct(handle: string): Promise<string> {
    const value = check.text(handle, 'handle')
    return this.#run('direct', value)
  }

  /** Begins a group. */
  async createGroup(name: string, handles: readonly string[]): Promise<string> {
    const [title, people] = [check.text(name, 'name'), check.texts(handles, 'handles')]
    return this.#run('group', title, ...people)
  }

  /** Adds somebody to a group. */
  async add(conversation: string, handle: string): Promise<void> {
    const [id, who] = [check.text(conversation, 'conversation'), check.text(handle, 'handle')]
    await this.#run('add', id, who)
  }

  /** Removes somebody from a group. */
  async remove(conversation: string, handle: string): Promise<void> {
    const [id, who] = [check.text(conversation, 'conversation'), check.text(handle, 'handle')]
    await this.#run('remove', id, who)
  }

  /** Leaves a group, with all devices. Its last admin makes somebody else one before. */
  async leave(conversation: string): Promise<void> {
    const id = check.text(conversation, 'conversation')
    await this.#run('leave', id)
  }

  /** Writes a text. If the server cannot be reached, it is kept, and goes with the next `sync`. */
  async send(conversation: string, text: string): Promise<string> {
    const [id, words] = [check.text(conversation, 'conversation'), check.text(text, 'text')]
    return this.#run('send', id, words)
  }

  /** The conversations. */
  async conversations(): Promise<Conversation[]> {
    return this.#run('conversations')
  }

  /** Everybody who was written to or heard of. */
  async contacts(): Promise<Contact[]> {
    return this.#run('contacts')
  }

  /** Entries of a history, from a place on. */
  async entries(conversation: string, from = 0, most = 1000): Promise<ChatEntry[]> {
    const id = check.text(conversation, 'conversation')
    const [place, count] = [check.whole(from, 'from'), check.whole(most, 'most')]
    return this.#run('entries', id, String(place), String(count))
  }

  /** The safety number with somebody, and whether it is the one that was verified. */
  async safetyNumber(handle: string): Promise<{ number: string; verified: boolean }> {
    return this.#safety(handle, undefined)
  }

  /** The user has compared the number: from now on changes of the person's devices stop messages. */
  async verify(handle: string, number: string): Promise<{ number: string; verified: boolean }> {
    return this.#safety(handle, check.text(number, 'number'))
  }

  /** Takes that back: changes of the person's devices are told, and stop nothing. */
  async unverify(handle: string): Promise<void> {
    const value = check.text(handle, 'handle')
    await this.#run('unverify', value)
  }

  async #safety(handle: string, given: string | undefined): Promise<{ number: string; verified: boolean }> {
    const value = check.text(handle, 'handle')
    const words = given === undefined ? [value] : [value, given]
    const [number, verified] = await this.#run<[string, boolean]>('safety', ...words)
    return { number, verified }
  }

  /** Gives the server a newer chain of one's own. */
  async putChain(chain: Chain): Promise<void> {
    const bundle = check.instance(chain, Chain, 'chain').export()
    await this.#run('chain', bundle)
  }

  /** What was not shown yet; it counts as shown from now on. */
  async news(): Promise<{ conversation: string; entry: ChatEntry }[]> {
    const told = await this.#run<[string, ChatEntry[]][]>('news')
    for (const [conversation, entries] of told) {
      const last = entries.at(-1)
      if (last !== undefined) await this.#run('shown', conversation, String(last.index + 1))
    }
    return told.flatMap(([conversation, entries]) => entries.map((entry) => ({ conversation, entry })))
  }

  /**
   * Everything new, as it comes, until the signal ends it. It comes back by itself after failures, and asks
   * the inbox twice a minute besides, so that no gap stays open.
   */
  async *listen(options?: {
    signal?: AbortSignal | undefined
    onState?: ((state: 'open' | 'waiting', error?: unknown) => void) | undefined
  }): AsyncGenerator<{ conversation: string; entry: ChatEntry }, void, void> {
    const { signal, onState } = check.options(options, ['signal', 'onState'], 'options')
    let failures = 0
    const over = () => signal?.aborted === true
    while (!over()) {
      let failure: unknown
      try {
        await this.sync()
        yield* await this.news()
        await this.admit()
        for await (const data of this.#stream(signal, () => onState?.('open'))) {
          failures = 0
          if (data === undefined) await this.sync()
          else await this.#run('pushed', data)
          yield* await this.news()
        }
        // The server ends a stream now and then: others shall not all come back in the same moment.
        failures = 0
      } catch (error) {
        if (over()) return
        if (!(error instanceof KezError) || !error.retryable) throw error
        failure = error
        failures += 1
      }
      onState?.('waiting', failure)
      const wait = failures === 0 ? 500 : Math.min(3000 * 2 ** (failures - 1), 60_000)
      await pause(wait * (0.75 + Math.random() / 2), signal)
    }
  }

  /** The data of the stream's items; undefined when it is time to ask the inbox. */
  async *#stream(signal: AbortSignal | undefined, opened: () => void): AsyncGenerator<string | undefined, void, void> {
    const url = await this.#run<string>('stream')
    const failed = (cause: unknown) =>
      new KezError('connect_failed', 'the stream of the chat server', { kind: 'network', cause })
    // A server is never silent for so long.
    const quiet = new AbortController()
    const events = new Handle((wasm) => new wasm.Events())
    let timer = setTimeout(() => quiet.abort(), 45_000)
    let beat: ReturnType<typeof setTimeout> | undefined
    // Half a minute has passed, or the network is back: something may wait on either side.
    let due: () => void = () => undefined
    const online = () => due()
    globalThis.addEventListener?.('online', online)
    try {
      const both = signal === undefined ? quiet.signal : AbortSignal.any([signal, quiet.signal])
      const response = await this.#fetch(url, { signal: both, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer' })
      if (response.status !== 200 || response.body === null) throw failed(response.status)
      opened()
      const reader = response.body.getReader()
      const wait = () =>
        new Promise<undefined>((resolve) => {
          due = () => resolve(undefined)
          beat = setTimeout(due, 30_000)
        })
      let [next, tick] = [reader.read(), wait()]
      for (;;) {
        const got = await Promise.race([next, tick])
        if (got === undefined) {
          clearTimeout(beat)
          yield undefined
          tick = wait()
          continue
        }
        if (got.done) return
        next = reader.read()
        clearTimeout(timer)
        timer = setTimeout(() => quiet.abort(), 45_000)
        const told = events.use((inner) => inner.push(got.value))
        for (let n = 0; n < told.length; n += 2) {
          if (told[n] === 'item') yield told[n + 1]
          if (told[n] === 'end') return
        }
      }
    } catch (error) {
      throw error instanceof KezError ? error : failed(error)
    } finally {
      clearTimeout(timer)
      clearTimeout(beat)
      globalThis.removeEventListener?.('online', online)
      quiet.abort()
      events.free()
    }
  }

  /** Gives the memory back, and wipes the device's key in it. */
  async close(): Promise<void> {
    await this.#queue
    this.#held.free()
  }
}

/** Waits; not for longer than the network is away, nor when all is over. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      globalThis.removeEventListener?.('online', done)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    globalThis.addEventListener?.('online', done)
    signal?.addEventListener('abort', done)
  })
}
