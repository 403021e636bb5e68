/** What this browser keeps: IndexedDB, one database for the pages (chat has its own). */
import { createStore, del, entries, get, set, setMany, type UseStore } from 'idb-keyval'
import type { Memory } from 'kez'

// One object store a database is what the library keeps to.
const own = createStore('kez', 'own')
const seen = createStore('kez-seen', 'seen')

export const load = <T>(name: string): Promise<T | undefined> => get<T>(name, own)
/** Stores values by their names: all, or none. */
export const save = (values: Record<string, unknown>): Promise<void> => setMany(Object.entries(values), own)
export const remove = (name: string): Promise<void> => del(name, own)

export const everything = (store: UseStore = own): Promise<[IDBValidKey, unknown][]> => entries(store)
export const everythingSeen = () => everything(seen)

let memory: Promise<Memory> | undefined

/** Remembers chains and logs of others, so that a rollback is noticed. */
export function openMemory(): Promise<Memory> {
  memory ??= (async (): Promise<Memory> => {
    const known = new Map((await everything(seen)) as [string, string][])
    return {
      get: (name) => known.get(name),
      set(name, text) {
        known.set(name, text)
        // What cannot be written costs the noticing of rollbacks, not the verdict.
        set(name, text, seen).catch(() => undefined)
      },
    }
  })().catch((): Memory => new Map<string, string>())
  return memory
}

/** Deletes all of it, and of chat. */
export async function removeEverything(): Promise<void> {
  localStorage.clear()
  const names = (await indexedDB.databases()).flatMap(({ name }) => (name?.startsWith('kez') ? [name] : []))
  await Promise.all(
    names.map(
      (name) =>
        new Promise<void>((resolve) => {
          const deleting = indexedDB.deleteDatabase(name)
          // Another tab that has it open closes it by ending.
          deleting.onsuccess = deleting.onerror = deleting.onblocked = () => resolve()
        }),
    ),
  )
}
