/** Starts the package, in pages and workers: `kez` is `kez/slim` here (vite.config.ts), which has no module of its own. */
import wasm from 'kez/kez.wasm?url'
import { init } from 'kez'

export const start = (): Promise<void> => init(wasm)
