/**
 * What the extension keeps. The worker may end between any two lines, so nothing lives in it: what concerns a tab is in
 * memory that the browser holds (`storage.session`), what is remembered is on disk (`storage.local`), and nothing of a private
 * window is.
 */
import type { Graph, Head, Report, VerifyOptions } from 'kez'
import type { Verdict } from './verdict.ts'

export interface Settings {
  /** Who is asked about a profile without a click. */
  ask: 'click' | 'platform' | 'all'
  /** Hosts on which nothing is looked at. */
  off: string[]
  relays?: string[] | undefined
  dns?: string[] | undefined
  sigServers?: string[] | undefined
  /** The web app, for messages and whole pages. */
  app?: string | undefined
}

/** What was found out about somebody. */
export interface Known {
  /** The whole identity; null where only the platform was asked. */
  graph: Graph | null
  edges: Report[]
  /** RFC 3339. */
  checked: string
}

/** Somebody as they were seen. */
export interface Pin {
  primary: string
  /** The key that was current. */
  key: string | null
  head: Head | null
  accounts: string[]
  /** RFC 3339. */
  first: string
}

/** What a tab shows. */
export interface Tab {
  url: string
  /** When it began to be looked at, in milliseconds. */
  at: number
  /** Whose profile it is; null for nobody's. */
  subject: string | null
  verdict: Verdict | null
  /** What was found out for this tab; null where it is from what is remembered. */
  found: Known | null
  /** Every place that was asked for it. */
  asked: string[]
  /** What the platforms answered, by URL. */
  texts: Record<string, string>
  /** Why it could not be remembered, or found out. */
  failure: 'storage' | { message: string } | null
  private: boolean
}

const MOST_KNOWN = 300
const DEFAULTS: Settings = { ask: 'platform', off: [] }

async function get<T>(area: chrome.storage.StorageArea, name: string): Promise<T | undefined> {
  return ((await area.get(name)) as Record<string, T>)[name]
}
/** Everything under names that begin so, without that beginning. */
async function all<T>(begin: string): Promise<Map<string, T>> {
  const found = Object.entries(await chrome.storage.local.get(null)).filter(([name]) => name.startsWith(begin))
  return new Map(found.map(([name, value]) => [name.slice(begin.length), value as T]))
}
const areaOf = (hidden: boolean) => (hidden ? chrome.storage.session : chrome.storage.local)

/** What whoever has built this has set for everybody: as `config.json` of the web app. */
interface Config extends Partial<Pick<Settings, 'ask' | 'sigServers' | 'app'>> {
  verify?: VerifyOptions
}
let config: Promise<Config> | undefined
const readConfig = () => (config ??= fetch(chrome.runtime.getURL('config.json')).then((file) => file.json() as Promise<Config>))

export async function loadSettings(): Promise<Settings & { verify: VerifyOptions }> {
  const { verify = {}, ...set } = await readConfig()
  return { ...DEFAULTS, ...set, ...(await get<Partial<Settings>>(chrome.storage.local, 'settings')), verify }
}
export async function saveSettings(changed: Partial<Settings>): Promise<void> {
  const old = await get<Partial<Settings>>(chrome.storage.local, 'settings')
  await chrome.storage.local.set({ settings: { ...old, ...changed } })
}

/** Switches a host on or off. */
export async function switchSite(host: string, on: boolean): Promise<void> {
  const off = (await loadSettings()).off.filter((one) => one !== host)
  await saveSettings({ off: on ? off : [...off, host] })
}

export const loadTab = (id: number) => get<Tab>(chrome.storage.session, `tab:${id}`)
export async function saveTab(id: number, tab: Tab): Promise<void> {
  const name = `tab:${id}`
  try {
    await chrome.storage.session.set({ [name]: tab })
  } catch {
    // The browser keeps ten megabytes for all tabs: what platforms showed goes first.
    await chrome.storage.session.set({ [name]: { ...tab, texts: {} } })
  }
}
export const forgetTab = (id: number) => chrome.storage.session.remove(`tab:${id}`)

/** What is known of an account: by itself, or as one of somebody's who was looked at elsewhere. */
export async function recall(subject: string, hidden: boolean): Promise<Known | undefined> {
  for (const area of hidden ? [chrome.storage.session, chrome.storage.local] : [chrome.storage.local]) {
    const name = await get<string>(area, `who:${subject}`)
    const known = name === undefined ? undefined : await get<Known>(area, `known:${name}`)
    if (known !== undefined) return known
  }
  return undefined
}

export async function remember(subject: string, known: Known, hidden: boolean): Promise<void> {
  const valid = known.edges.filter(({ status }) => status === 'valid').map((edge) => edge.subject)
  // Who only says to be somebody changes nothing of what is known of that one.
  const primary = known.graph?.primary ?? null
  const proven = primary !== null && (primary === subject || valid.includes(subject))
  const [name, others] = proven ? [primary, valid] : [subject, []]
  const who = Object.fromEntries([subject, ...others].map((one) => [`who:${one}`, name]))
  await areaOf(hidden).set({ ...who, [`known:${name}`]: known })
  if (!hidden) await prune()
}

async function prune(): Promise<void> {
  const known = await all<Known>('known:')
  if (known.size <= MOST_KNOWN) return
  const oldest = [...known].sort(([, a], [, b]) => a.checked.localeCompare(b.checked)).slice(0, known.size - MOST_KNOWN + 50)
  const gone = new Set(oldest.map(([name]) => name))
  const who = [...(await all<string>('who:'))].filter(([, name]) => gone.has(name))
  await chrome.storage.local.remove([...[...gone].map((name) => `known:${name}`), ...who.map(([subject]) => `who:${subject}`)])
}

/** That nothing of KEZ is at an account is remembered until the browser ends, and not on disk. */
export const absentSince = (subject: string) => get<number>(chrome.storage.session, `absent:${subject}`)
export const noteAbsent = (subject: string) => chrome.storage.session.set({ [`absent:${subject}`]: Date.now() })

/** When a platform that has had enough may be asked again. */
export async function waitUntil(what: string): Promise<string | undefined> {
  const retry = await get<string>(chrome.storage.session, `wait:${what}`)
  return retry !== undefined && Date.parse(retry) > Date.now() ? retry : undefined
}
export const wait = (what: string, until: string) => chrome.storage.session.set({ [`wait:${what}`]: until })

export const loadPin = (subject: string) => get<Pin>(chrome.storage.local, `pin:${subject}`)
export const savePin = (subject: string, pin: Pin) => chrome.storage.local.set({ [`pin:${subject}`]: pin })
export const removePin = (subject: string) => chrome.storage.local.remove(`pin:${subject}`)
export const allPins = () => all<Pin>('pin:')
export const countKnown = async () => (await all<Known>('known:')).size

export async function forget(what: 'known' | 'pins'): Promise<void> {
  const begins = what === 'pins' ? ['pin:'] : ['known:', 'who:']
  const names = Object.keys(await chrome.storage.local.get(null))
  await chrome.storage.local.remove(names.filter((name) => begins.some((begin) => name.startsWith(begin))))
}

const FORMAT = 'kez.pins/1'
export async function exportPins(): Promise<string> {
  return JSON.stringify({ format: FORMAT, pins: Object.fromEntries(await allPins()) }, null, 2)
}

/** Adds what is not here yet; what differs stays as this browser saw it. Undefined for what is no export. */
export async function importPins(text: string): Promise<{ added: number; same: number; other: number } | undefined> {
  let file: unknown
  try {
    file = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(file) || file['format'] !== FORMAT || !isRecord(file['pins'])) return undefined
  const pins = Object.entries(file['pins'])
  if (!pins.every(([, pin]) => isPin(pin))) return undefined
  const here = await allPins()
  const counts = { added: 0, same: 0, other: 0 }
  const adding: Record<string, unknown> = {}
  for (const [subject, pin] of pins as [string, Pin][]) {
    const mine = here.get(subject)
    if (mine === undefined) {
      adding[`pin:${subject}`] = pin
      counts.added += 1
    } else if (mine.primary === pin.primary && mine.key === pin.key) counts.same += 1
    else counts.other += 1
  }
  await chrome.storage.local.set(adding)
  return counts
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
function isPin(value: unknown): value is Pin {
  if (!isRecord(value)) return false
  const { primary, key, head, accounts, first } = value
  const text = (one: unknown) => typeof one === 'string'
  const isHead = head === null || (isRecord(head) && Number.isSafeInteger(head['seq']) && text(head['id']))
  const listed = Array.isArray(accounts) && accounts.every(text)
  return text(primary) && (key === null || text(key)) && isHead && listed && text(first) && !Number.isNaN(Date.parse(first as string))
}
