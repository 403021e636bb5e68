/**
 * The entry of `kez/import` for Node, Deno and Bun: the module is read from beside this file.
 *
 * @module
 */
import { initImport as start } from './import.js'
import type { Source } from './instance.js'

export * from './import.js'

/** As in browsers. */
export async function initImport(source?: Source): Promise<void> {
  if (source !== undefined) return start(source)
  const { readFile } = await import('node:fs/promises')
  return start(await readFile(new URL('./kez-import.wasm', import.meta.url)))
}
