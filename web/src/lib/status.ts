/** How a report is shown: in a word, by a sign, and by a tone. Red is for contradictions alone. */
import type { Report } from 'kez'
import { isContested } from './owners.ts'
import { t } from './text.ts'

export type Tone = 'good' | 'old' | 'bad' | 'mute'

const MISSING = ['proof_not_found', 'not_on_chain']

export function shown(report: Report): { word: string; sign: string; tone: Tone } {
  const { status, reason } = report
  if (status === 'invalid' && reason !== null && MISSING.includes(reason)) {
    return { word: t.status.missing, sign: '○', tone: 'old' }
  }
  if (reason === 'identity_not_found') return { word: t.status.nobody, sign: '○', tone: 'old' }
  if (status === 'valid' && isContested(report)) return { word: t.status.contested, sign: '⚠', tone: 'old' }
  const all = {
    valid: { word: t.status.valid, sign: '✓', tone: 'good' },
    invalid: { word: t.status.invalid, sign: '✕', tone: 'bad' },
    fork: { word: t.status.fork, sign: '⑂', tone: 'bad' },
    revoked: { word: t.status.revoked, sign: '⊘', tone: 'old' },
    expired: { word: t.status.expired, sign: '◷', tone: 'old' },
    unreachable: { word: t.status.unreachable, sign: '…', tone: 'mute' },
  } as const
  return all[status]
}

/** A name that fits: the middle of a key left out. */
export function short(name: string, most = 28): string {
  if (name.length <= most) return name
  const end = Math.floor(most / 3)
  return `${name.slice(0, most - end - 1)}…${name.slice(-end)}`
}
