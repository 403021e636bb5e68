/** The chat of this browser: one client, what it knows, and how it hears of more. */
import { KezError, SecretKey } from 'kez'
import { browserStorage, type BrowserStorage, Chat, type ChatEntry, type Contact, type Conversation, initChat } from 'kez/chat'
import { CHAT, forgetDevice, takeDevice } from './device.ts'
import { me } from './me.svelte.ts'
import { verifyOptions } from './settings.ts'
import { load, openMemory, save } from './store.ts'

export type Link = 'connecting' | 'live' | 'reconnecting'

class Conversations {
  /** Whether the client is there. */
  ready = $state(false)
  /** What the stream says of itself; a dead network it notices late. */
  #stream = $state<Link>('connecting')
  #online = $state(navigator.onLine)
  list = $state.raw<Conversation[]>([])
  contacts = $state.raw<Contact[]>([])
  /** The entries of the conversation that is open. */
  entries = $state.raw<ChatEntry[]>([])
  selected = $state<string>()
  /** Up to which entry each conversation was read. */
  read = $state<Record<string, number>>({})
  /** Why it ended. */
  failure = $state<unknown>()
  #chat: Chat | undefined
  #storage: BrowserStorage | undefined
  #opening: Promise<void> | undefined
  #looking: Promise<unknown> | undefined
  #due = false

  get link(): Link {
    return this.#online || this.#stream === 'connecting' ? this.#stream : 'reconnecting'
  }

  get chat(): Chat {
    if (this.#chat === undefined) throw new Error('no chat')
    return this.#chat
  }

  async #open(): Promise<{ storage: BrowserStorage; device: SecretKey }> {
    await initChat()
    const storage = (this.#storage ??= await browserStorage('main'))
    const joined = await takeDevice()
    const seed = await storage.deviceKey(() => joined ?? SecretKey.generate('ed25519').exposeBytes())
    return { storage, device: SecretKey.fromBytes('ed25519', seed) }
  }

  /** Takes the chat up that this browser has; once is enough. */
  open(): Promise<void> {
    this.#opening ??= (async () => {
      const { storage, device } = await this.#open()
      this.#begin(await Chat.open({ device, storage, verify: await this.#verify() }))
    })().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  #verify = async () => ({ ...verifyOptions(), memory: await openMemory() })

  /** Registers a handle for this browser, whose device is added to the sigchain before. */
  async register(handle: string, server: string): Promise<void> {
    const { storage, device } = await this.#open()
    const known = me.summary?.devices.some(({ key }) => key === device.identity) === true
    if (!known) {
      const name = navigator.userAgent.includes('Firefox') ? 'Firefox' : 'Browser'
      await me.append({ type: 'add_device', device: device.identity, caps: [CHAT], name }, [device])
    }
    const owner = me.stored?.where === 'elsewhere' ? undefined : me.signer
    const chat = await Chat.register({ device, storage, handle, server, chain: me.chain, owner, verify: await this.#verify() })
    await me.setHandle(handle, server, device.identity)
    await forgetDevice()
    this.#opening = Promise.resolve()
    this.#begin(chat)
  }

  #begin(chat: Chat): void {
    this.#chat = chat
    this.ready = true
    for (const event of ['online', 'offline']) addEventListener(event, () => (this.#online = navigator.onLine))
    void this.#listen(chat)
  }

  async #listen(chat: Chat): Promise<void> {
    this.read = (await load<Record<string, number>>('read')) ?? {}
    try {
      // One's own chain may be newer elsewhere than here, or here than at the server of the chat.
      await me.refresh().catch(() => undefined)
      await chat.putChain(me.chain).catch(() => undefined)
      await this.refresh()
      const onState = (state: 'open' | 'waiting') => {
        this.#stream = state === 'open' ? 'live' : 'reconnecting'
        this.#look()
      }
      for await (const { conversation, entry } of chat.listen({ onState })) {
        // What is looked at is shown at once, the list a moment later.
        if (conversation === this.selected && entry.index === this.entries.length) this.entries = [...this.entries, entry]
        this.#look()
      }
    } catch (error) {
      this.failure = error
    }
  }

  /** Reads anew what there is, some time soon: once for however much comes meanwhile. */
  #look(): void {
    this.#due = true
    this.#looking ??= (async () => {
      while (this.#due) {
        this.#due = false
        await this.refresh()
      }
    })()
      .catch((error: unknown) => (this.failure = error))
      .finally(() => (this.#looking = undefined))
  }

  /** Reads anew what there is. */
  async refresh(): Promise<void> {
    const { chat } = this
    ;[this.list, this.contacts] = await Promise.all([chat.conversations(), chat.contacts()])
    if (this.selected !== undefined) {
      this.entries = await chat.entries(this.selected)
      await this.#markRead()
    }
  }

  async select(id: string | undefined): Promise<void> {
    this.selected = id
    this.entries = id === undefined ? [] : await this.chat.entries(id)
    await this.#markRead()
  }

  /** What is looked at is read. */
  async #markRead(): Promise<void> {
    if (document.hidden || this.selected === undefined || this.read[this.selected] === this.entries.length) return
    this.read[this.selected] = this.entries.length
    await save({ read: $state.snapshot(this.read) })
  }

  unread = ({ id, entries }: Conversation): number => Math.max(0, entries - (this.read[id] ?? 0))

  /** The conversation with somebody, or a group with several. */
  async begin(handles: string[], name: string): Promise<void> {
    const [first] = handles
    const id = handles.length === 1 && first !== undefined ? await this.chat.direct(first) : await this.chat.createGroup(name, handles)
    await this.refresh()
    await this.select(id)
  }

  /** Writes; what cannot be posted now waits, and is no failure. */
  async send(text: string): Promise<void> {
    if (this.selected === undefined) return
    try {
      await this.chat.send(this.selected, text)
    } catch (error) {
      if (!(error instanceof KezError) || !error.retryable) throw error
    } finally {
      await this.refresh()
    }
  }

  /** What a primary is called here. */
  nameOf(primary: string | null): string {
    if (primary === null) return ''
    if (primary === me.stored?.primary) return me.stored.handle?.name ?? primary
    return this.contacts.find((contact) => contact.primary === primary)?.handle ?? primary
  }

  /** The other one of a conversation of two. */
  other({ about, people }: Conversation): Contact | undefined {
    const primary = about.kind === 'direct' ? people.find((one) => one !== me.stored?.primary) : undefined
    return this.contacts.find((contact) => contact.primary === primary)
  }

  /** Whether the user compared the safety number, and it is still that one. */
  standing({ verified, devices }: Contact): 'none' | 'verified' | 'changed' {
    if (verified === null) return 'none'
    return verified.join() === devices.join() ? 'verified' : 'changed'
  }

  titleOf(conversation: Conversation): string {
    const { about, people } = conversation
    if (about.name !== null) return about.name
    return people.filter((one) => one !== me.stored?.primary).map((one) => this.nameOf(one)).join(', ')
  }
}

export const chats = new Conversations()
