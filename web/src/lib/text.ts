/** The texts of the page in the reader's language. */
import type { Base, Own } from './messages/en/index.ts'
import { settings } from './settings.ts'

type Codes = Partial<Record<string, string>>
const LANGUAGES = {
  en: [() => import('./messages/en/base.ts'), () => import('./messages/en/own.ts'), () => import('./messages/en/codes.ts')],
  ar: [() => import('./messages/ar/base.ts'), () => import('./messages/ar/own.ts'), () => import('./messages/ar/codes.ts')],
} as const satisfies Record<string, readonly [() => Promise<{ base: Base }>, () => Promise<{ own: Own }>, () => Promise<{ codes: Codes }>]>

export type Language = keyof typeof LANGUAGES
export const languages: [Language, string][] = [
  ['en', 'English'],
  ['ar', 'العربية'],
]

/** The texts. Those of one's own identity are there once {@link loadOwn} is done, the others before any page. */
export let t: Base & Own
/** The language that they are in. */
export let language: Language = 'en'

export async function loadText(wanted: string = settings().language ?? navigator.language.slice(0, 2)): Promise<void> {
  language = wanted in LANGUAGES ? (wanted as Language) : 'en'
  const { base } = await LANGUAGES[language][0]()
  t = { ...t, ...base }
}

export async function loadOwn(): Promise<void> {
  const { own } = await LANGUAGES[language][1]()
  t = { ...t, ...own }
}

/**
 * What a code means, and what to do. The table of them is long, and comes when it is wanted: where it does not come (no
 * network, the page is being left), the code itself is still told.
 */
export async function explain(code: string): Promise<string | undefined> {
  const table: Promise<{ codes: Codes }> = LANGUAGES[language][2]()
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
