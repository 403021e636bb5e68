/**
 * A `WebSocket` for Node 20, which has none of its own: the one of the package `ws`, where it is
 * installed. Undefined where there is a global one.
 *
 * @internal
 */
export async function webSocket(): Promise<(new (url: string) => WebSocket) | undefined> {
  if (typeof globalThis.WebSocket === 'function') return undefined
  try {
    const name = 'ws'
    return (await import(name)).WebSocket
  } catch {
    return undefined
  }
}
