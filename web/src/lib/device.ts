/** The key of a device that is about to join an identity (`linking.ts`), until the chat's own storage keeps it. */
import { SecretKey } from 'kez'
import { load, remove, save } from './store.ts'

/** What a device may do. */
export const CHAT = 'chat/1'

/** The key, made where there is none; it waits here until the answer comes. */
export async function newDevice(): Promise<SecretKey> {
  const kept = await load<Uint8Array>('joining')
  if (kept !== undefined) return SecretKey.fromBytes('ed25519', kept)
  const key = SecretKey.generate('ed25519')
  await save({ joining: key.exposeBytes() })
  return key
}

export const takeDevice = () => load<Uint8Array>('joining')
export const forgetDevice = () => remove('joining')
