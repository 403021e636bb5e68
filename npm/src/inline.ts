/**
 * The entry that carries the module inside itself: a third larger, and never "not found".
 *
 * @module
 */
import { CODES } from './codes.js'
import { speak } from './errors.js'
import * as glue from './glue/kez_wasm.js'
import { start, startSync } from './instance.js'
import { base64 } from './wasm-inline.js'

export * from './slim.js'

speak(CODES)

function bytes(): Uint8Array<ArrayBuffer> {
  const text = atob(base64)
  const out = new Uint8Array(text.length)
  for (let n = 0; n < text.length; n += 1) out[n] = text.charCodeAt(n)
  return out
}

/** Starts the module. */
export function init(): Promise<void> {
  return start(glue, bytes)
}

/** As {@link init}, at once. */
export function initSync(): void {
  startSync(glue, bytes())
}
