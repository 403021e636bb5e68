/**
 * The classes of everything that this package throws. Decide by `code`, which never changes its
 * meaning; the message is for people and may change.
 *
 * @module
 */
import type { CODES } from './codes.js'
import type { Code, Kind } from './data.js'

/** Codes of the package itself, beside those of the protocol (SPEC.md, "Reason codes"). */
export type PackageCode =
  | 'argument_refused'
  | 'not_initialized'
  | 'init_failed'
  | 'use_after_free'
  | 'signing_left_out'
  | 'signer_failed'
  | 'internal_panic'

/** Every code that an error of this package can have. */
export type ErrorCode = Code | PackageCode

/** What every error has. */
export class KezError extends Error {
  /** The stable code. */
  readonly code: ErrorCode
  /** The family of the code. */
  readonly kind: Kind | 'usage' | 'internal'
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** What the error is about; it never holds a secret. */
  readonly detail: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { kind?: KezError['kind']; detail?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.kind = options.kind ?? 'usage'
    this.retryable = this.kind === 'network'
    this.detail = options.detail
    this.name = new.target.name
  }
}

/** An argument is not what the function takes: fix the call. */
export class KezInputError extends KezError {}
/** Data breaks the format: refuse it. */
export class KezFormatError extends KezError {}
/** Data does not prove what it says: do not trust it. */
export class KezVerifyError extends KezError {}
/** A server could not be asked, or refused: try again later. */
export class KezChannelError extends KezError {}
/** Something could not be stored, or the host has no randomness. */
export class KezStorageError extends KezError {}
/** Nothing works before `await init()`. */
export class KezNotInitializedError extends KezError {}
/** An object was used after `free()`, or a module without signing was asked to sign. */
export class KezUsageError extends KezError {}
/** A defect of this package. The module is poisoned: everything throws this until `init()`. */
export class KezInternalError extends KezError {}

const CLASSES: Record<Kind, typeof KezError> = {
  input: KezInputError,
  format: KezFormatError,
  crypto: KezVerifyError,
  chain: KezVerifyError,
  proof: KezVerifyError,
  network: KezChannelError,
  storage: KezStorageError,
}

/** What the WebAssembly module throws. */
interface Thrown extends Error {
  message: Code
  name: Kind
  detail: string | undefined
}

let table: typeof CODES | undefined

/**
 * Has errors say in a sentence what happened. The table is long: the entries that carry a module bring it along, and without it a
 * message is the code.
 *
 * @internal
 */
export function speak(codes: typeof CODES): void {
  table = codes
}

/** Whether a value is an error that the core gave on purpose. */
export function isThrown(value: unknown): value is Thrown {
  return value instanceof Error && 'detail' in value && Object.hasOwn(CLASSES, value.name)
}

/** The error of this package for one of the core's. */
export function fromThrown(thrown: Thrown): KezError {
  const { message: code, name: kind, detail } = thrown
  const summary = table?.[code][2] ?? code
  return new CLASSES[kind](code, detail === undefined ? summary : `${summary} (${detail})`, { kind, detail })
}
