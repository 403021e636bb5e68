/**
 * What the codes mean, in words: an entry of its own, `kez/codes`, for pages that load it when it is wanted.
 *
 * @module
 */
import { CODES } from './codes.js'
import type { Code, Kind, Status } from './data.js'
import { REMEDIES } from './remedies.js'

/** What a code means. */
export interface CodeInfo {
  code: Code
  kind: Kind
  /** How a verification ends for this reason. */
  status: Status
  /** What happened. */
  summary: string
  /** What to do. */
  remedy: string
}

/** The table of the protocol's codes, for showing reasons to people. */
export function codes(): CodeInfo[] {
  return Object.entries(CODES).map(([name, [kind, status, summary]]) => {
    const code = name as Code
    return { code, kind, status, summary, remedy: REMEDIES[code] }
  })
}
