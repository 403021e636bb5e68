/**
 * Publishing proofs where only their accounts' owner can.
 */
import * as check from './check.js'
import { Claim } from './claim.js'
import { type Disposable, disposable } from './dispose.js'
import type * as glue from './glue/kez_wasm.js'
import { call, Handle, signing } from './instance.js'
import { eventAuthor, type Nip07, type SecretKey } from './key.js'
import { run, type VerifyOptions } from './verifier.js'

/** What publishing did, or would do. */
export interface Placed {
  /** `manual`: the record that `claim.encode('dns')` gives is the owner's to add. */
  change: 'created' | 'updated' | 'unchanged' | 'manual'
  /** Where the proof is, if it has a URL for people. */
  url: string | null
  /** What went wrong beside it: a relay that was not reached. */
  warnings: string[]
}

function parsed(account: string, name = 'account'): string {
  signing()
  const value = check.text(account, name)
  return call((wasm) => wasm.parseIdentity(value))
}

/**
 * Puts a claim's proof into its place: a gist, a Bluesky record, a field of a fediverse profile, a nostr event. What
 * else is there stays, an older proof of the same is replaced, and a second run changes nothing. `token` is a GitHub
 * token with the scope `gist`, a Bluesky app password, or what {@link Authorization.redeem} gave; a nostr account
 * needs its `key` (or NIP-07 provider) instead, and of a domain only the owner can add the record.
 *
 * ```js
 * const { url } = await publish(claim, { token })
 * const [report] = await verify(claim.subject) // platforms may need a minute to show it
 * ```
 */
export async function publish(
  claim: Claim,
  options?: VerifyOptions & { token?: string | undefined; key?: SecretKey | Nip07 | undefined; dryRun?: boolean | undefined },
): Promise<Placed> {
  signing()
  const more = ['token', 'key', 'dryRun']
  const token = check.optionalText(options?.token, 'options.token')
  const [dryRun, key] = [options?.dryRun === true, options?.key]
  check.instance(claim, Claim, 'claim')
  const author = key === undefined ? undefined : await eventAuthor(key, 'options.key')
  return run(options, more, (verifier, signal, wake) =>
    verifier.publish(claim.inner(), token, author?.(), dryRun, signal, wake),
  )
}

/**
 * Names GitHub accounts in the external identities of a nostr key (NIP-39), for clients that do not know KEZ: each with
 * a gist in the form that they read, by a token of the account with the scope `gist`. What the key names already stays.
 *
 * ```js
 * await publishIdentities(window.nostr, [{ account: 'github:alice', token }])
 * ```
 */
export async function publishIdentities(
  key: SecretKey | Nip07,
  accounts: readonly { account: string; token: string }[],
  options?: VerifyOptions & { dryRun?: boolean | undefined },
): Promise<Placed> {
  signing()
  if (!Array.isArray(accounts)) check.refuse('accounts', 'an array', accounts)
  const names = accounts.map(({ account }, n) => {
    const name = parsed(account, `accounts[${n}].account`)
    return name.startsWith('github:') ? name : check.refuse(`accounts[${n}].account`, 'an account of GitHub', account)
  })
  const tokens = accounts.map(({ token }, n) => check.text(token, `accounts[${n}].token`))
  const author = await eventAuthor(key, 'key')
  return run(options, ['dryRun'], (verifier, signal, wake) =>
    verifier.publishIdentities(author(), names, tokens, options?.dryRun === true, signal, wake),
  )
}

/** Tries a token or app password: it must be of that account, and may do what publishing needs. */
export async function signIn(account: string, token: string, options?: VerifyOptions): Promise<void> {
  const [id, secret] = [parsed(account), check.text(token, 'token')]
  await run(options, [], (verifier, signal, wake) => verifier.signIn(id, secret, signal, wake))
}

/** Gives a token back, where the platform lets it end itself. Says whether it does. */
export async function signOut(account: string, token: string, options?: VerifyOptions): Promise<boolean> {
  const [id, secret] = [parsed(account), check.text(token, 'token')]
  return run(options, [], (verifier, signal, wake) => verifier.giveBack(id, secret, signal, wake))
}

/** Gives the token that takes the place of one that has ended, such as Bluesky's after an hour; it is the same while that
 * lasts. Keep it before you use it: the old one is worth nothing from then on. */
export async function renew(account: string, token: string, options?: VerifyOptions): Promise<string> {
  const [id, secret] = [parsed(account), check.text(token, 'token')]
  const renewed = await run(options, [], (verifier, signal, wake) => verifier.renew(id, secret, signal, wake))
  return (renewed as string | undefined) ?? secret
}

/** Leave that a fediverse or Bluesky server is asked for (OAuth with PKCE). */
export class Authorization implements Disposable {
  /** Where the user allows it, and is shown a code. */
  readonly url: string
  readonly #handle: Handle<glue.Authorization>

  /** @internal */
  constructor(inner: glue.Authorization) {
    this.#handle = new Handle(() => inner)
    this.url = this.#handle.use((authorization) => authorization.url)
  }

  /**
   * Takes the code that the user was shown, or of Bluesky the query with which the browser has come back, and gives the
   * token for {@link publish}: a secret, to be kept encrypted.
   */
  async redeem(answer: string, options?: VerifyOptions): Promise<string> {
    const text = check.text(answer, 'answer')
    return run(options, [], (verifier, signal, wake) => verifier.redeem(this.#handle.inner(), text, signal, wake))
  }

  /** Whether the query with which a browser came back is to this, and not to what another page has asked for. */
  isAnsweredBy(query: string): boolean {
    const text = check.text(query, 'query')
    return this.#handle.use((authorization) => authorization.isAnsweredBy(text))
  }

  /** Forgets it. */
  free(): void {
    this.#handle.free()
  }

  declare [Symbol.dispose]: () => void
}
disposable(Authorization)

/**
 * Asks the server of a fediverse account for leave to write the profile, or that of a Bluesky account for leave to write
 * the proof's record: there the browser comes back to `redirect`, and `client` is the URL of your client's metadata
 * (https://atproto.com/specs/oauth), unless `redirect` is below `http://127.0.0.1:<port>/`.
 */
export async function authorize(
  account: string,
  options?: VerifyOptions & { client?: string | undefined; redirect?: string | undefined },
): Promise<Authorization> {
  const id = parsed(account)
  const client = check.optionalText(options?.client, 'options.client')
  const redirect = check.optionalText(options?.redirect, 'options.redirect')
  return new Authorization(
    await run(options, ['client', 'redirect'], (verifier, signal, wake) =>
      verifier.authorize(id, client, redirect, signal, wake),
    ),
  )
}
