/**
 * A second browser becomes a device of an identity, by two codes that may be seen by anybody: its own key
 * goes to the browser that has the identity, and the event signed there comes back. No secret moves.
 */
import { parseIdentity, type SecretKey } from 'kez'
import { CHAT, newDevice } from './device.ts'
import { me } from './me.svelte.ts'

const REQUEST = 'kez-join:'
const ANSWER = 'kez-joined:'

export interface Answer {
  primary: string
  event: string
  handle?: { name: string; server: string }
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
