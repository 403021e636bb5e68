/**
 * The entry for what only verifies, in a browser: its module, `kez-verify.wasm`, is two fifths
 * smaller. What signs and encodes throws `signing_left_out`, and what errors say is their code: `kez/codes` has the sentences.
 *
 * @module
 */
import { type Glue, start, startSync, type Source } from './instance.js'
import * as bindings from './verify-glue/kez_wasm.js'

export * from './reading.js'

const glue = bindings as unknown as Glue

/** As `init` of `kez`. */
export function init(source?: Source): Promise<void> {
  return start(glue, () => source ?? new URL('./kez-verify.wasm', import.meta.url))
}

/** As {@link init}, at once, from bytes or a compiled module. */
export function initSync(module: BufferSource | WebAssembly.Module): void {
  startSync(glue, module)
}
