/**
 * The entry for browsers and bundlers: the module is fetched from beside this file.
 *
 * @module
 */
import { CODES } from './codes.js'
import { speak } from './errors.js'
import { init as slim } from './slim.js'
import type { Source } from './instance.js'

export * from './slim.js'

speak(CODES)

/**
 * Starts the module; to be awaited once before anything else, and harmless when done again. Give
 * a source where the file cannot be found beside the code.
 */
export function init(source?: Source): Promise<void> {
  return slim(source ?? new URL('./kez.wasm', import.meta.url))
}
