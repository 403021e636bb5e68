/**
 * A second browser becomes a device of an identity, by two codes that may be seen by anybody: its own key
 * goes to the browser that has the identity, and the event signed there comes back. No secret moves.
 */
import { parseIdentity, SecretKey } from 'kez'
import { me } from './me.svelte.ts'
import { load, remove, save } from './store.ts'

const REQUEST = 'kez-join:'
const ANSWER = 'kez-joined:'
/** What a device may do. */
export const CHAT = 'chat/1'

export interface Answer {
  primary: string
  event: string
  handle?: { name: string; server: string }
}

/** The key of a device that is about to join; it waits here until the answer comes. */
export async function newDevice(): Promise<SecretKey> {
  const kept = await load<Uint8Array>('joining')
  if (kept !== undefined) return SecretKey.fromBytes('ed25519', kept)
  const key = SecretKey.generate('ed25519')
  await save({ joining: key.exposeBytes() })
  return key
}

export const requestOf = (device: SecretKey): string => REQUEST + device.identity

/** Signs for the device whose code was brought; undefined if it is no such code. */
export async function answer(code: string, name: string): Promise<string | undefined> {
  const text = code.trim()
  if (!text.startsWith(`${REQUEST}ed25519:`)) return undefined
  const device = parseIdentity(text.slice(REQUEST.length))
  const event = await me.prepare({ type: 'add_device', device, caps: [CHAT], name })
  const { primary, handle } = me.stored as NonNullable<typeof me.stored>
  const made: Answer = { primary, event, ...(handle === undefined ? {} : { handle }) }
  return ANSWER + JSON.stringify(made)
}

/** Joins by the answer; undefined if it is none. */
export async function join(code: string): Promise<Answer | undefined> {
  const text = code.trim()
  if (!text.startsWith(ANSWER)) return undefined
  let given: Answer
  try {
    given = JSON.parse(text.slice(ANSWER.length)) as Answer
  } catch {
    return undefined
  }
  const device = await newDevice()
  await me.join(given.primary, given.event, device, given.handle)
  return given
}

/** The joined device's key, for the chat's own storage, which keeps it from then on. */
export const takeDevice = () => load<Uint8Array>('joining')
export const forgetDevice = () => remove('joining')
