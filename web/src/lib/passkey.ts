/** Keeps 32 secret bytes under a key that a passkey gives (WebAuthn's PRF extension). */
import { type Bytes, open, seal, type Sealed } from './wrapping.ts'

export interface ByPasskey extends Sealed {
  id: Bytes
  salt: Bytes
}

/** The wrapping key that a passkey's answer gives. */
async function derived(answer: BufferSource): Promise<CryptoKey> {
  const base = await crypto.subtle.importKey('raw', answer, 'HKDF', false, ['deriveKey'])
  const info = new TextEncoder().encode('kez passkey 1')
  const how = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }
  return crypto.subtle.deriveKey(how, base, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
}

const challenge = () => crypto.getRandomValues(new Uint8Array(32))
const first = (credential: Credential | null): BufferSource | undefined =>
  (credential as PublicKeyCredential | null)?.getClientExtensionResults().prf?.results?.first

async function ask(id: Bytes, salt: Bytes): Promise<CryptoKey | undefined> {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: challenge(),
      allowCredentials: [{ id, type: 'public-key' }],
      userVerification: 'required',
      extensions: { prf: { eval: { first: salt } } },
    },
  })
  const answer = first(credential)
  return answer === undefined ? undefined : derived(answer)
}

/** Makes a passkey that can open it; undefined where the browser or the authenticator cannot. */
export async function keepByPasskey(secret: Uint8Array, name: string): Promise<ByPasskey | undefined> {
  const salt = crypto.getRandomValues(new Uint8Array(32))
  const credential = (await navigator.credentials.create({
    publicKey: {
      rp: { name: 'KEZ' },
      user: { id: crypto.getRandomValues(new Uint8Array(16)), name, displayName: name },
      challenge: challenge(),
      pubKeyCredParams: [-8, -7, -257].map((alg) => ({ type: 'public-key' as const, alg })),
      authenticatorSelection: { residentKey: 'preferred', userVerification: 'required' },
      extensions: { prf: { eval: { first: salt } } },
    },
  })) as PublicKeyCredential | null
  if (credential === null) return undefined
  const id = new Uint8Array(credential.rawId)
  const answer = first(credential)
  // Some give the secret only when they are asked again.
  const wrap = answer === undefined ? await ask(id, salt) : await derived(answer)
  return wrap && { id, salt, ...(await seal(wrap, secret)) }
}

/** Opens it with the passkey; undefined if the user declined. */
export async function takeByPasskey(kept: ByPasskey): Promise<Uint8Array | undefined> {
  const wrap = await ask(kept.id, kept.salt)
  return wrap && open(wrap, kept)
}
