import type { base } from './base.ts'
import type { own } from './own.ts'

/** Every text: what a language has to have. */
export type Base = typeof base
export type Own = typeof own
