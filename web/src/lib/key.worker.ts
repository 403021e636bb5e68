/** Opens and makes key files, away from the page: it takes a second, and 64 MiB that end with the worker. */
import { SecretKey } from 'kez'
import { start } from './start.ts'

export interface Job {
  kind: 'open' | 'close'
  passphrase: string
  /** To open. */
  file?: string
  /** To close: the secret, as people carry it, and of which kind it is. */
  secret?: string
  scheme?: 'ed25519' | 'nostr'
}

self.onmessage = async ({ data }: MessageEvent<Job>) => {
  try {
    await start()
    if (data.kind === 'open') {
      self.postMessage({ result: SecretKey.decrypt(data.file ?? '', data.passphrase).exposeText() })
    } else {
      const key = SecretKey.fromText(data.scheme ?? 'ed25519', data.secret ?? '')
      self.postMessage({ result: key.encrypt(data.passphrase) })
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    self.postMessage({ error: { code, message } })
  }
}
