/**
 * Everything, without a WebAssembly module: whoever imports this says where the module comes
 * from. Libraries depend on this entry, so that the application decides. What its errors say is the
 * code and what it is about, without a sentence: `kez/codes` has those.
 *
 * @module
 */
import * as glue from './glue/kez_wasm.js'
import { start, startSync, type Source } from './instance.js'

export {
  type EventTemplate,
  type ExternalSigner,
  identityOf as signerIdentity,
  keyFile,
  type KeyKind,
  type Nip07,
  SecretKey,
  type Signer,
} from './key.js'
export { Authorization, authorize, type Placed, publish, publishIdentities, renew, signIn, signOut } from './publish.js'
export * from './reading.js'

/** Starts the module from a URL, a `Response`, bytes or a compiled module. Once is enough. */
export function init(source: Source): Promise<void> {
  return start(glue, () => source)
}

/** As {@link init}, at once, from bytes or a compiled module. */
export function initSync(module: BufferSource | WebAssembly.Module): void {
  startSync(glue, module)
}
