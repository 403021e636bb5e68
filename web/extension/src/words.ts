/** The extension's own texts, from `_locales`, in the browser's language. */
import type texts from '../public/_locales/en/messages.json'
import type { Aside, State, Verdict } from './verdict.ts'

export type Word = keyof typeof texts

export const word = (name: Word, ...values: (string | number)[]): string => chrome.i18n.getMessage(name, values.map(String))

/** The form of each state, beside its words. */
export const SIGNS: Record<State, string> = { verified: '✓', contested: '⚠', changed: '↻', contradicted: '✕', unknown: '…', checking: '◌' }

const ASIDE: Record<Aside, Word> = { renamed: 'renamed', moved: 'moved', history_unchecked: 'history_unchecked' }

/** A verdict in words; `time` says how a moment is written. */
export function say(verdict: Verdict | null, time: (moment: string) => string): string {
  if (verdict === null) return word('absent')
  if (verdict.word === 'verified') {
    return [word('verified', verdict.valid, verdict.all), ...verdict.notes.map((note) => word(ASIDE[note]))].join(' · ')
  }
  if (verdict.word === 'limited' && verdict.retry !== null) return word('limited', time(verdict.retry))
  return word(verdict.word)
}
