/**
 * Claims, and finding proofs in texts.
 */
import * as check from './check.js'
import type { Chain } from './chain.js'
import type { Encoding, Head } from './data.js'
import { type Disposable, disposable } from './dispose.js'
import { fromThrown, isThrown, type KezError } from './errors.js'
import type * as glue from './glue/kez_wasm.js'
import { call, Handle, signing } from './instance.js'
import { identityOf, sign, type Signer } from './key.js'

/** The forms in which a claim can be published. */
export type Form = 'json' | 'compact' | 'markdown' | 'dns' | 'pointer'

const FORMS = ['json', 'compact', 'markdown', 'dns', 'pointer'] as const

/** What a claim says. */
export interface ClaimMembers {
  /** The id: 64 hex digits. */
  id: string
  /** The claimed account, domain or key. */
  subject: string
  /** The identity that claims it. */
  primary: string
  /** The key that signed. */
  signer: string
  /** When it was signed (RFC 3339). */
  created_at: string
  /** When it expires. */
  expires_at: string | null
  /** The platform's own id of the account. */
  account: string | null
  /** Where the sigchain is served. */
  sources: string[]
  /** The sigchain's head when the claim was signed. */
  head: Head | null
}

/** What a new claim says. */
export interface ClaimOptions {
  /** The account, domain or key that is claimed: a canonical identity. */
  subject: string
  /** Who signs. */
  signer: Signer
  /** The signer's sigchain, if there is one: its name and head go into the claim. */
  chain?: Chain | undefined
  /** When it is signed; now, if not given. */
  createdAt?: Date | number | undefined
  /** When it expires. */
  expiresAt?: Date | number | undefined
  /** The platform's own id of the account, so that a name that changes hands stops verifying. */
  account?: string | undefined
  /** Up to 8 URLs where the sigchain is served. */
  sources?: readonly string[] | undefined
}

const OPTIONS = ['subject', 'signer', 'chain', 'createdAt', 'expiresAt', 'account', 'sources']

/**
 * A signed claim, whose signature was verified when the object was made.
 *
 * ```js
 * using key = SecretKey.generate()
 * using claim = await Claim.create({ subject: 'dns:example.com', signer: key })
 * claim.encode('dns') // the TXT record to publish
 * ```
 */
export class Claim implements Disposable {
  readonly #handle: Handle<glue.Claim>
  #members: ClaimMembers | undefined

  private constructor(make: (wasm: typeof glue) => glue.Claim) {
    this.#handle = new Handle(make)
  }

  /** Signs a new claim. */
  static async create(options: ClaimOptions): Promise<Claim> {
    signing()
    const given = check.options(options, OPTIONS, 'options')
    const subject = check.text(given.subject, 'options.subject')
    const created_at = check.timestamp(given.createdAt ?? Date.now(), 'options.createdAt')
    const { expiresAt } = given
    const expires_at = expiresAt === undefined ? undefined : check.timestamp(expiresAt, 'options.expiresAt')
    const account = check.optionalText(given.account, 'options.account')
    const sources = given.sources === undefined ? undefined : check.texts(given.sources, 'options.sources')
    const head = given.chain?.head ?? undefined
    const primary = given.chain?.name ?? (await identityOf(given.signer, 'options.signer'))
    const payload = { type: 'claim', subject, primary, created_at, expires_at, account, sources, head }
    const json = check.json(payload, 'options')
    const draft = new Handle((wasm) => wasm.Draft.claim(json))
    await sign(draft, given.signer)
    return new Claim(() => draft.inner().intoClaim())
  }

  /** Reads the first claim in a text: JSON, the compact form, or a Markdown fence. */
  static parse(text: string): Claim {
    const value = check.text(text, 'text')
    return new Claim((wasm) => wasm.Claim.fromText(value))
  }

  /** Reads a claim from strict JSON and nothing else. */
  static fromJson(json: string | Uint8Array): Claim {
    const value = check.textOrBytes(json, 'json')
    return new Claim((wasm) => wasm.Claim.fromJson(value))
  }

  /** Reads a claim from exactly one compact form. */
  static fromCompact(compact: string): Claim {
    const value = check.text(compact, 'compact')
    return new Claim((wasm) => wasm.Claim.fromCompact(value))
  }

  /** Everything that it says. */
  get members(): ClaimMembers {
    this.#members ??= this.#handle.use((claim) => claim.members() as ClaimMembers)
    return this.#members
  }

  /** The id. */
  get id(): string {
    return this.members.id
  }

  /** What is claimed. */
  get subject(): string {
    return this.members.subject
  }

  /** Who claims it. */
  get primary(): string {
    return this.members.primary
  }

  /** The text to publish, in one of the forms. */
  encode(form: Form): string {
    signing()
    const value = check.word(form, FORMS, 'form')
    return this.#handle.use((claim) => claim.encode(value))
  }

  /** The members. */
  toJSON(): ClaimMembers {
    return this.members
  }

  /** @internal */
  inner(): glue.Claim {
    return this.#handle.inner()
  }

  /** Gives the memory back. */
  free(): void {
    this.#handle.free()
  }

  declare [Symbol.dispose]: () => void
}
disposable(Claim)

/** A proof in a text. */
export interface FoundProof {
  encoding: Encoding
  /** The claim's id; null for a pointer. */
  claim: string | null
  /** The claimed account; null for a pointer. */
  subject: string | null
  /** The identity that the proof names as its owner. */
  primary: string
}

/** Something that looks like a proof and is none. */
export interface NoProof {
  error: KezError
}

/** Finds every proof in a text, at most 16. Signatures are verified; nothing is looked up. */
export function findProofs(text: string): (FoundProof | NoProof)[] {
  const value = check.text(text, 'text')
  return call((wasm) => wasm.findProofs(value)).map((found: unknown) =>
    isThrown(found) ? { error: fromThrown(found) } : (found as FoundProof),
  )
}

/** The primary that a pointer (`kez:` and a key) names. */
export function parsePointer(pointer: string): string {
  const value = check.text(pointer, 'pointer')
  return call((wasm) => wasm.primaryFromPointer(value))
}
