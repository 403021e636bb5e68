/**
 * Everything, without a WebAssembly module: whoever imports this says where the module comes
 * from. Libraries depend on this entry, so that the application decides.
 *
 * @module
 */
import { start, startSync, type Source } from './instance.js'

export * from './basics.js'
export * from './chain.js'
export * from './claim.js'
export type * from './data.js'
export type { Disposable } from './dispose.js'
export * from './errors.js'
export { isReady, type Source } from './instance.js'
export {
  type EventTemplate,
  type ExternalSigner,
  type KeyKind,
  type Nip07,
  SecretKey,
  type Signer,
} from './key.js'
export {
  identity,
  judge,
  type KnownHistory,
  type Memory,
  type ProgressEvent,
  verify,
  type VerifyOptions,
  verifyProof,
} from './verifier.js'

/** Starts the module from a URL, a `Response`, bytes or a compiled module. Once is enough. */
export function init(source: Source): Promise<void> {
  return start(() => source)
}

/** As {@link init}, at once, from bytes or a compiled module. */
export function initSync(module: BufferSource | WebAssembly.Module): void {
  startSync(module)
}
