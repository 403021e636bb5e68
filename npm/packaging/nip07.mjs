// A nostr key for tests, by @noble/curves: as a NIP-07 extension in a page, which no page sees, or by itself.
import { schnorr } from '@noble/curves/secp256k1.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { init, signerIdentity } from '../dist/node.js'

/** Makes a key: its identity, and what signs events with it. */
export async function nostrKey() {
  const secret = schnorr.utils.randomSecretKey()
  const pubkey = bytesToHex(schnorr.getPublicKey(secret))
  const sign = ({ created_at, kind, tags, content }) => {
    const id = bytesToHex(sha256(utf8ToBytes(JSON.stringify([0, pubkey, created_at, kind, tags, content]))))
    return { created_at, kind, tags, content, id, pubkey, sig: bytesToHex(schnorr.sign(hexToBytes(id), secret)) }
  }
  await init()
  const identity = await signerIdentity({ getPublicKey: async () => pubkey, signEvent: async () => ({}) })
  return { pubkey, identity, sign }
}

/** Installs an extension with such a key into a page of Playwright; gives its identity. */
export async function extension(page) {
  const { pubkey, identity, sign } = await nostrKey()
  await page.exposeFunction('signForTests', sign)
  await page.addInitScript((key) => {
    window.nostr = { getPublicKey: async () => key, signEvent: (event) => window.signForTests(event) }
  }, pubkey)
  return identity
}
