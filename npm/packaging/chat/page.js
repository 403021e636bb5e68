// A plain page that chats: what the tests do with it, they say by calling `page`.
import * as kez from '/kez/index.js'
import { browserStorage, Chat, initChat } from '/kez/chat.js'

await Promise.all([kez.init(), initChat()])
let storage, device, chat, listening
const memory = new Map()
const verify = { dangerAllowLoopback: true, dns: [], relays: [], memory }
const list = document.querySelector('#entries')
const shown = []
const states = []

function show({ conversation, entry }) {
  shown.push(entry)
  const item = document.createElement('li')
  // Text, never markup.
  item.textContent = `${entry.at} ${entry.kind}: ${entry.about ?? ''}`
  item.className = entry.device === chat.account.device ? 'mine' : ''
  item.title = conversation
  list.append(item)
}

globalThis.page = {
  /** Opens the storage, and takes the device up if it was registered. */
  async open(name) {
    storage = await browserStorage(name)
    let fresh = false
    const seed = await storage.deviceKey(() => {
      fresh = true
      using key = kez.SecretKey.generate('ed25519')
      return key.exposeBytes()
    })
    device = kez.SecretKey.fromBytes('ed25519', seed)
    if (!fresh) chat = await Chat.open({ device, storage, verify })
    return fresh
  },
  async register(handle) {
    const owner = kez.SecretKey.generate('ed25519')
    const chain = kez.Chain.start(owner.identity)
    await chain.append(
      { type: 'add_device', device: device.identity, caps: ['chat/1'] },
      { signers: [owner, device] },
    )
    chat = await Chat.register({ device, storage, verify, handle, server: location.origin, chain, owner })
    document.querySelector('#me').textContent = `KEZ chat: ${handle}`
    return chat.account
  },
  listen() {
    const onState = (...told) => states.push(told.map((told) => told?.cause ?? told).join(' '))
    listening = (async () => {
      for await (const news of chat.listen({ onState })) show(news)
    })()
    listening.catch((error) => states.push(`${error.code} ${error.message}`))
  },
  async send(handle, text) {
    return chat.send(await chat.direct(handle), text)
  },
  async group(name, handles) {
    return chat.createGroup(name, handles)
  },
  write: (conversation, text) => chat.send(conversation, text),
  async texts() {
    const all = []
    for (const { id } of await chat.conversations()) {
      for (const entry of await chat.entries(id)) if (entry.kind === 'text') all.push(entry.about)
    }
    return all
  },
  shown: () => shown.filter((entry) => entry.kind === 'text').map((entry) => entry.about),
  /** Moves the device into another storage, as it would to another browser. */
  async move(name) {
    await chat.close()
    const blob = await Chat.export({ device, storage })
    const other = await browserStorage(name)
    await other.deviceKey(() => device.exposeBytes())
    chat = await Chat.import({ device, storage: other, verify }, blob)
    const [left, back] = [await storage.names(), await Chat.open({ device, storage, verify }).catch((error) => error.code)]
    storage = other
    return [left, back]
  },
  states: () => states,
  nats: (nonce) => chat.natsSignature(nonce),
  safety: (handle) => chat.safetyNumber(handle),
  /** What lies on the disk, as text: no plaintext may be in it. */
  async dump() {
    const databases = await indexedDB.databases()
    let text = ''
    for (const { name } of databases) {
      const opening = indexedDB.open(name)
      await new Promise((done) => (opening.onsuccess = done))
      const records = opening.result.transaction('records').objectStore('records').getAll()
      await new Promise((done) => (records.onsuccess = done))
      for (const record of records.result) text += new TextDecoder('latin1').decode(record)
      opening.result.close()
    }
    return text
  },
}
document.title = 'ready'
