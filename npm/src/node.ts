/**
 * The entry for Node, Deno and Bun: the module is read from beside this file, when `init` is
 * called and not before.
 *
 * @module
 */
import { CODES } from './codes.js'
import { speak } from './errors.js'
import * as glue from './glue/kez_wasm.js'
import { call, start, type Source } from './instance.js'
import { fetchWith } from './node-net.js'
import { webSocket } from './node-websocket.js'
import { defaults } from './verifier.js'

export * from './slim.js'

speak(CODES)

defaults.WebSocket = webSocket
defaults.fetch = (loopback) =>
  fetchWith({ isPublic: (address) => call((wasm) => wasm.isPublicAddress(address)), loopback })

/** As in browsers. */
export function init(source?: Source): Promise<void> {
  return start(glue, async () => {
    if (source !== undefined) return source
    const { readFile } = await import('node:fs/promises')
    return readFile(new URL('./kez.wasm', import.meta.url))
  })
}
