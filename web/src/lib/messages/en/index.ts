import type { base } from './base.ts'
import type { chat } from './chat.ts'
import type { keys } from './keys.ts'
import type { own } from './own.ts'
import type { prove } from './prove.ts'
import type { settings } from './settings.ts'
import type { talk } from './talk.ts'
import type { verify } from './verify.ts'

/** Every text: what a language has to have. */
export type Base = typeof base
export type Chat = typeof chat
export type Keys = typeof keys
export type Own = typeof own
export type Prove = typeof prove
export type Settings = typeof settings
export type Talk = typeof talk
export type Verify = typeof verify
