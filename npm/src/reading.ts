/**
 * Everything that every entry has.
 *
 * @module
 */
export * from './basics.js'
export * from './chain.js'
export * from './claim.js'
export type * from './data.js'
export type { Disposable } from './dispose.js'
export * from './errors.js'
export { isReady, type Source } from './instance.js'
export {
  defaultRelays,
  type History,
  history,
  identity,
  judge,
  type KnownHistory,
  type IdentityOptions,
  type LookupOptions,
  type Memory,
  type ProgressEvent,
  verify,
  type VerifyOptions,
  verifyProof,
} from './verifier.js'
