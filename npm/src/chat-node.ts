/**
 * The entry of chat for Node, Deno and Bun: the module is read from beside this file.
 *
 * @module
 */
import { initChat as start } from './chat.js'
import type { Source } from './instance.js'

export * from './chat.js'

/** As in browsers. */
export async function initChat(source?: Source): Promise<void> {
  if (source !== undefined) return start(source)
  const { readFile } = await import('node:fs/promises')
  return start(await readFile(new URL('./kez-chat.wasm', import.meta.url)))
}
