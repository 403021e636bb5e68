/** The texts of the page in the reader's language. */
import type { Base, Chat, Keys, Own, Prove, Settings, Talk, Verify } from './messages/en/index.ts'
import { settings } from './settings.ts'

type Codes = Partial<Record<string, string>>
/** What there is of a language; each part comes when a page wants it. */
interface Parts {
  base: () => Promise<{ base: Base }>
  verify: () => Promise<{ verify: Verify }>
  own: () => Promise<{ own: Own }>
  prove: () => Promise<{ prove: Prove }>
  keys: () => Promise<{ keys: Keys }>
  chat: () => Promise<{ chat: Chat }>
  talk: () => Promise<{ talk: Talk }>
  settings: () => Promise<{ settings: Settings }>
  codes: () => Promise<{ codes: Codes }>
}
type Part = Exclude<keyof Parts, 'codes'>
const LANGUAGES = {
  en: {
    base: () => import('./messages/en/base.ts'),
    verify: () => import('./messages/en/verify.ts'),
    own: () => import('./messages/en/own.ts'),
    prove: () => import('./messages/en/prove.ts'),
    keys: () => import('./messages/en/keys.ts'),
    chat: () => import('./messages/en/chat.ts'),
    talk: () => import('./messages/en/talk.ts'),
    settings: () => import('./messages/en/settings.ts'),
    codes: () => import('./messages/en/codes.ts'),
  },
  ar: {
    base: () => import('./messages/ar/base.ts'),
    verify: () => import('./messages/ar/verify.ts'),
    own: () => import('./messages/ar/own.ts'),
    prove: () => import('./messages/ar/prove.ts'),
    keys: () => import('./messages/ar/keys.ts'),
    chat: () => import('./messages/ar/chat.ts'),
    talk: () => import('./messages/ar/talk.ts'),
    settings: () => import('./messages/ar/settings.ts'),
    codes: () => import('./messages/ar/codes.ts'),
  },
} satisfies Record<string, Parts>

export type Language = keyof typeof LANGUAGES
export const languages: [Language, string][] = [
  ['en', 'English'],
  ['ar', 'العربية'],
]

/** What pages want besides `base`, by the first part of their path: all others verify. */
const PAGES = new Map<string | undefined, Part[]>([
  ['prove', ['own', 'prove']],
  ['back', ['own', 'prove']],
  ['keys', ['own', 'keys']],
  ['chat', ['own', 'chat']],
  ['settings', ['own', 'settings']],
])

/** The texts. Those of `base` are there before any page, the others once {@link loadTextsOf} or {@link withTexts} is done. */
export let t: Base & Verify & Own & Prove & Keys & Chat & Talk & Settings
/** The language that they are in. */
export let language: Language = 'en'

const partsOf = (path: string): Part[] => PAGES.get(path.split('/')[1]) ?? ['verify']

/** Chooses the language, and brings what the first page wants. */
export async function loadText(path: string, wanted: string = settings().language ?? navigator.language.slice(0, 2)): Promise<void> {
  language = wanted in LANGUAGES ? (wanted as Language) : 'en'
  await loadTexts(['base', ...partsOf(path)])
}

/** Brings what a further page wants. */
export const loadTextsOf = (path: string): Promise<void> => loadTexts(partsOf(path))

/** What comes later in a page, and its texts. */
export const withTexts = async <T>(part: Part, module: Promise<T>): Promise<T> => (await Promise.all([module, loadTexts([part])]))[0]

async function loadTexts(parts: Part[]): Promise<void> {
  const loaded = await Promise.all(parts.map((part) => LANGUAGES[language][part]()))
  for (const [n, part] of parts.entries()) t = { ...t, ...(loaded[n] as Record<string, object>)[part] }
}

/**
 * What a code means, and what to do. The table of them is long, and comes when it is wanted: where it does not come (no
 * network, the page is being left), the code itself is still told.
 */
export async function explain(code: string): Promise<string | undefined> {
  const table: Promise<{ codes: Codes }> = LANGUAGES[language].codes()
  return table.then(({ codes }) => codes[code], () => undefined)
}

/** A moment, in words. */
export function when(moment: string | number | Date): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(moment))
}

/** How long ago something was, in words. */
export function ago(moment: string | number | Date): string {
  const seconds = Math.round((new Date(moment).getTime() - Date.now()) / 1000)
  const words = new Intl.RelativeTimeFormat(language, { numeric: 'auto' })
  const units: [Intl.RelativeTimeFormatUnit, number][] = [['day', 86_400], ['hour', 3600], ['minute', 60]]
  for (const [unit, size] of units) if (Math.abs(seconds) >= size) return words.format(Math.round(seconds / size), unit)
  return words.format(seconds, 'second')
}
