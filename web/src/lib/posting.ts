/** Proofs posted by the page itself, for those who let it. */
import { type Authorization, Claim, KezError, type Nip07, publish, publishIdentities, type SecretKey, signOut } from 'kez'
import type { Pending, Service } from './prove.ts'
import { verifyOptions } from './settings.ts'

/** Where somebody makes a token or password that may do what posting needs, and no more. */
export const tokenPages: Partial<Record<Service, string>> = {
  github: 'https://github.com/settings/tokens/new?scopes=gist&description=KEZ',
  bluesky: 'https://bsky.app/settings/app-passwords',
}

/**
 * Puts the proof where it belongs, as the account's owner: with a token or app password, or the code that a
 * fediverse server gave for its leave. Nothing of that is kept, and the leave is given back.
 */
export async function post(proof: Pending, secret: string, leave?: Authorization): Promise<void> {
  const options = verifyOptions()
  const token = leave === undefined ? secret.trim() : await leave.redeem(secret, options)
  try {
    await put(proof, { ...options, token })
  } finally {
    // A server that does not take it back lets it end by itself.
    if (leave !== undefined) await signOut(proof.subject, token, options).catch(() => false)
  }
}

/** Names a GitHub account in the external identities of a nostr key (NIP-39), for clients that do not know KEZ. */
export async function nameOnNostr(author: SecretKey | Nip07, { subject }: Pending, token: string): Promise<void> {
  await publishIdentities(author, [{ account: subject, token: token.trim() }], verifyOptions())
}

/** Puts the proof on nostr relays, signed by the extension. */
export async function postToRelays(proof: Pending): Promise<void> {
  const { nostr } = window
  if (nostr === undefined) throw new KezError('wrong_owner', proof.subject)
  await put(proof, { ...verifyOptions(), key: nostr })
}

async function put(proof: Pending, options: Parameters<typeof publish>[1]): Promise<void> {
  const claim = Claim.fromJson(proof.claim)
  try {
    await publish(claim, options)
  } finally {
    claim.free()
  }
}
