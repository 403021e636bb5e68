/** What the user has set, and what the host of these pages has set for everybody (`/config.json`). */
import type { VerifyOptions } from 'kez'
import type { Language } from './text.ts'

export interface Settings {
  language?: Language
  theme?: 'light' | 'dark'
  sigServers?: string[]
  relays?: string[]
  dns?: string[]
  chatServer?: string
}

/** The host's file: where things are, for a site whose users have set nothing. */
interface Config {
  sigServers?: string[]
  chatServer?: string
  /** For a site on one machine: other places of the platforms (`github`, `plc`, …). */
  verify?: VerifyOptions
  /** Identities that the front page offers as examples. */
  examples?: string[]
}

const NAME = 'kez:settings'
let config: Config = {}

/** Reads the host's file; without one everything has its built-in value. */
export async function loadConfig(): Promise<void> {
  try {
    const response = await fetch('/config.json', { credentials: 'omit' })
    if (response.ok) config = (await response.json()) as Config
  } catch {
    // Offline, and not in the cache: the built-in values serve.
  }
}

export function settings(): Settings {
  try {
    return JSON.parse(localStorage.getItem(NAME) ?? '{}') as Settings
  } catch {
    return {}
  }
}

export function saveSettings(changed: Settings): void {
  localStorage.setItem(NAME, JSON.stringify({ ...settings(), ...changed }))
}

export const examples = () => config.examples ?? []
/** Where one's own sigchain is published. */
export const sigServers = () => settings().sigServers ?? config.sigServers ?? []
/** Where one chats, if nothing else was said: beside these pages. */
export const chatServer = () => settings().chatServer ?? config.chatServer ?? location.origin

/** How everything is verified here. */
export function verifyOptions(): VerifyOptions {
  const { relays, dns } = settings()
  return {
    ...config.verify,
    ...(relays === undefined ? {} : { relays }),
    ...(dns === undefined ? {} : { dns }),
    sigServers: sigServers(),
  }
}
