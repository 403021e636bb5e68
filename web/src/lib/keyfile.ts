/** Key files, made and opened in a worker that then ends. */
import { KezError, SecretKey, type ErrorCode } from 'kez'
import { schemeOf } from './files.ts'
import type { Job } from './key.worker.ts'
import url from './key.worker.ts?worker&url'
import { script } from './worker.svelte.ts'

function work(job: Job): Promise<string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(script(url), { type: 'module' })
    const end = (settle: () => void) => {
      worker.terminate()
      settle()
    }
    worker.onerror = () => end(() => reject(new Error('the worker could not start')))
    worker.onmessage = ({ data }: MessageEvent<{ result?: string; error?: { code?: ErrorCode; message: string } }>) =>
      end(() => {
        const { result, error } = data
        if (result !== undefined) resolve(result)
        else if (error?.code === undefined) reject(new Error(error?.message))
        else reject(new KezError(error.code, error.message, { kind: 'storage' }))
      })
    worker.postMessage(job)
  })
}

/** Opens a key file; `passphrase_wrong`, `key_file`. */
export async function openFile(file: string, passphrase: string, identity: string): Promise<SecretKey> {
  return SecretKey.fromText(schemeOf(identity), await work({ kind: 'open', file, passphrase }))
}

/** Makes a key file. */
export function makeFile(key: SecretKey, passphrase: string): Promise<string> {
  return work({ kind: 'close', secret: key.exposeText(), scheme: schemeOf(key.identity), passphrase })
}
