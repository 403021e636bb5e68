/** Recovery phrases: the 32 secret bytes as 24 words (BIP-39, without a passphrase of its own). */
import { SecretKey } from 'kez'

const library = async () => {
  const [{ entropyToMnemonic, mnemonicToEntropy }, { wordlist }] = await Promise.all([
    import('@scure/bip39'),
    import('@scure/bip39/wordlists/english.js'),
  ])
  return { entropyToMnemonic, mnemonicToEntropy, wordlist }
}

export async function toWords(key: SecretKey): Promise<string[]> {
  const { entropyToMnemonic, wordlist } = await library()
  return entropyToMnemonic(key.exposeBytes(), wordlist).split(' ')
}

/** The key that the words are; undefined if they are none. */
export async function fromWords(words: string, kind: 'ed25519' | 'nostr'): Promise<SecretKey | undefined> {
  const { mnemonicToEntropy, wordlist } = await library()
  try {
    return SecretKey.fromBytes(kind, mnemonicToEntropy(words.trim().toLowerCase().split(/\s+/).join(' '), wordlist))
  } catch {
    return undefined
  }
}
