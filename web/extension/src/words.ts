/** The extension's own texts, from `_locales`, in the browser's language. */
import type texts from '../public/_locales/en/messages.json'

export type Word = keyof typeof texts

export const word = (name: Word, ...values: (string | number)[]): string => chrome.i18n.getMessage(name, values.map(String))
