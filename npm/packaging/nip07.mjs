// A NIP-07 extension for tests: signs with @noble/curves, and no page sees its key.
import { schnorr } from '@noble/curves/secp256k1.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { init, signerIdentity } from '../dist/node.js'

/** Installs it into a page of Playwright; gives its identity. */
export async function extension(page) {
  const secret = schnorr.utils.randomSecretKey()
  const pubkey = bytesToHex(schnorr.getPublicKey(secret))
  await page.exposeFunction('signForTests', ({ created_at, kind, tags, content }) => {
    const id = bytesToHex(sha256(utf8ToBytes(JSON.stringify([0, pubkey, created_at, kind, tags, content]))))
    return { created_at, kind, tags, content, id, pubkey, sig: bytesToHex(schnorr.sign(hexToBytes(id), secret)) }
  })
  await page.addInitScript((key) => {
    window.nostr = { getPublicKey: async () => key, signEvent: (event) => window.signForTests(event) }
  }, pubkey)
  await init()
  return signerIdentity({ getPublicKey: async () => pubkey, signEvent: async () => ({}) })
}
