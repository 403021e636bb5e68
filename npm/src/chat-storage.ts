/**
 * Where a chat client keeps what it has: records that are encrypted already.
 */
import { KezStorageError } from './errors.js'

/** Records by name. What `set` has resolved for is durable. */
export interface ChatStorage {
  /** The record of that name. */
  get(name: string): Promise<Uint8Array | undefined>
  /** Stores a record, whole or not at all. */
  set(name: string, data: Uint8Array): Promise<void>
  /** Removes a record. */
  delete(name: string): Promise<void>
  /** The names of all records. */
  names(): Promise<string[]>
}

/** Storage in memory, for tests: everything is gone with the process. */
export function memoryStorage(): ChatStorage {
  const records = new Map<string, Uint8Array>()
  return {
    get: (name) => Promise.resolve(records.get(name)),
    set: (name, data) => Promise.resolve(void records.set(name, data)),
    delete: (name) => Promise.resolve(void records.delete(name)),
    names: () => Promise.resolve([...records.keys()]),
  }
}

/** Storage of a page, which also keeps the device's key, wrapped by a key that no script can read. */
export interface BrowserStorage extends ChatStorage {
  /** The device's 32 secret bytes; made by `make` the first time. */
  deviceKey(make: () => Uint8Array): Promise<Uint8Array>
  /** Lets other tabs have it. */
  close(): void
}

function failed(cause: unknown): KezStorageError {
  return new KezStorageError('storage_failed', 'the browser’s storage', { kind: 'storage', cause })
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(failed(request.error))
  })
}

/**
 * Opens a page's storage of that name: IndexedDB with strict durability, under a lock, so that one
 * tab alone has it. `storage_failed` if another tab has it now.
 */
export async function browserStorage(name: string): Promise<BrowserStorage> {
  const release = await new Promise<() => void>((resolve, reject) => {
    const taken = navigator.locks.request(`kez-chat:${name}`, { ifAvailable: true }, (lock) => {
      if (lock === null) return Promise.reject(failed(new Error('another tab has it')))
      return new Promise<void>((end) => resolve(end))
    })
    taken.catch(reject)
  })
  const opening = indexedDB.open(`kez-chat:${name}`, 1)
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore('records')
    opening.result.createObjectStore('keys')
  }
  const database = await done(opening)
  // The browser may say no, and then drops it when it needs the room; and one that asks the user first
  // shall not be waited for.
  navigator.storage?.persist?.().catch(() => undefined)
  const write = (store: string, work: (store: IDBObjectStore) => void) =>
    new Promise<void>((resolve, reject) => {
      const transaction = database.transaction(store, 'readwrite', { durability: 'strict' })
      transaction.oncomplete = () => resolve()
      transaction.onerror = transaction.onabort = () => reject(failed(transaction.error))
      work(transaction.objectStore(store))
    })
  const read = <T>(store: string, key: string) =>
    done(database.transaction(store).objectStore(store).get(key) as IDBRequest<T | undefined>)
  return {
    get: (record) => read<Uint8Array>('records', record),
    set: (record, data) => write('records', (store) => void store.put(data, record)),
    delete: (record) => write('records', (store) => void store.delete(record)),
    names: () => done(database.transaction('records').objectStore('records').getAllKeys() as IDBRequest<string[]>),
    async deviceKey(make) {
      const kept = await read<{ wrap: CryptoKey; iv: Uint8Array<ArrayBuffer>; data: ArrayBuffer }>('keys', 'device')
      if (kept !== undefined) {
        return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: kept.iv }, kept.wrap, kept.data))
      }
      const secret = new Uint8Array(make())
      const wrap = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
      const iv = crypto.getRandomValues(new Uint8Array(12))
      const data = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, wrap, secret)
      await write('keys', (store) => void store.put({ wrap, iv, data }, 'device'))
      return secret
    },
    close() {
      database.close()
      release()
    },
  }
}
