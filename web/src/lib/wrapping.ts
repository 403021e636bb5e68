/**
 * Keeps 32 secret bytes in a browser, under a key of this browser that no script can read. The other ways are a passkey
 * (`passkey.ts`) and a passphrase (`keyfile.ts`).
 */
export type Bytes = Uint8Array<ArrayBuffer>
export interface Sealed {
  iv: Bytes
  data: ArrayBuffer
}
export interface InBrowser extends Sealed {
  wrap: CryptoKey
}

export async function seal(wrap: CryptoKey, secret: Uint8Array): Promise<Sealed> {
  const iv = crypto.getRandomValues(new Uint8Array(12))
  return { iv, data: await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, wrap, new Uint8Array(secret)) }
}

export async function open(wrap: CryptoKey, { iv, data }: Sealed): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, wrap, data))
}

export async function keepInBrowser(secret: Uint8Array): Promise<InBrowser> {
  const wrap = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
  return { wrap, ...(await seal(wrap, secret)) }
}

export const takeFromBrowser = (kept: InBrowser): Promise<Uint8Array> => open(kept.wrap, kept)
