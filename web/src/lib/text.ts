/** The texts of the page in the reader's language. */
import type { Messages } from './messages/en.ts'
import { settings } from './settings.ts'

const LANGUAGES = {
  en: () => import('./messages/en.ts'),
  ar: () => import('./messages/ar.ts'),
} satisfies Record<string, () => Promise<{ default: Messages }>>

export type Language = keyof typeof LANGUAGES
export const languages: [Language, string][] = [
  ['en', 'English'],
  ['ar', 'العربية'],
]

/** The texts; there once {@link loadText} is done. */
export let t: Messages
/** The language that they are in. */
export let language: Language = 'en'

export async function loadText(): Promise<void> {
  const wanted = settings().language ?? navigator.language.slice(0, 2)
  language = wanted in LANGUAGES ? (wanted as Language) : 'en'
  t = (await LANGUAGES[language]()).default
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
