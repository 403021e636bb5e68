/**
 * Checks of arguments. The glue below would make something of anything: a string where bytes are
 * wanted becomes zeros, a fraction loses its end. So everything is checked before it gets there.
 */
import { KezInputError } from './errors.js'

function refuse(name: string, wanted: string, value: unknown): never {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
  throw new KezInputError('argument_refused', `${name} must be ${wanted}, not ${got}`, {
    kind: 'input',
    detail: name,
  })
}

/** A string without lone surrogates, which UTF-8 cannot hold. */
export function text(value: unknown, name: string): string {
  if (typeof value !== 'string') refuse(name, 'a string', value)
  if (/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(value)) {
    refuse(name, 'well-formed text', value)
  }
  return value
}

/** A string, or nothing. */
export function optionalText(value: unknown, name: string): string | undefined {
  return value === undefined || value === null ? undefined : text(value, name)
}

/** One of a few words. */
export function word<T extends string>(value: unknown, words: readonly T[], name: string): T {
  if (!words.includes(value as T)) refuse(name, `one of ${words.join(', ')}`, value)
  return value as T
}

/** A list of strings. */
export function texts(value: unknown, name: string): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) refuse(name, 'an array of strings', value)
  return value.map((item, n) => text(item, `${name}[${n}]`))
}

/** The engine's own word on a typed array: it holds in every realm, and no object can claim it. */
const tagOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Symbol.toStringTag,
)?.get

function isBytes(value: unknown): value is Uint8Array {
  return tagOf?.call(value) === 'Uint8Array'
}

/** Bytes, of this realm or another, and of one length if it matters. */
export function bytes(value: unknown, name: string, length?: number): Uint8Array {
  if (!isBytes(value)) refuse(name, 'a Uint8Array', value)
  if (length !== undefined && value.length !== length) {
    refuse(name, `${length} bytes long`, value)
  }
  return value
}

const utf8 = new TextEncoder()

/** Text or bytes, as bytes. */
export function textOrBytes(value: unknown, name: string): Uint8Array {
  if (typeof value === 'string') return utf8.encode(text(value, name))
  if (!isBytes(value)) refuse(name, 'a string or a Uint8Array', value)
  return value
}

/** A plain object, as JSON. Its members are the core's to judge. */
export function json(value: unknown, name: string): Uint8Array {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(name, 'an object', value)
  try {
    return utf8.encode(JSON.stringify(value))
  } catch (error) {
    throw new KezInputError('argument_refused', `${name} cannot be written as JSON`, { kind: 'input', cause: error })
  }
}

/** A count or a place. */
export function whole(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) refuse(name, 'a whole number from 0 on', value)
  return value
}

/** A time as the core counts it: whole seconds since 1970. */
export function seconds(value: unknown, name: string): number {
  const millis = value instanceof Date ? value.getTime() : value
  if (typeof millis !== 'number' || !Number.isFinite(millis) || Math.abs(millis) > 8.64e15) {
    refuse(name, 'a Date, or milliseconds since 1970', value)
  }
  return Math.floor(millis / 1000)
}

/** A time, or nothing. */
export function optionalSeconds(value: unknown, name: string): number | undefined {
  return value === undefined || value === null ? undefined : seconds(value, name)
}

/** A time as it is signed: RFC 3339 in UTC, whole seconds. */
export function timestamp(value: unknown, name: string): string {
  return new Date(seconds(value, name) * 1000).toISOString().replace('.000Z', 'Z')
}

/** A function, or nothing. */
export function optionalFunction<T>(value: T | undefined, name: string): T | undefined {
  if (value !== undefined && typeof value !== 'function') refuse(name, 'a function', value)
  return value
}

/** An object with no other members than these, so that a misspelt option is noticed. */
export function options<T extends object>(value: T | undefined, known: readonly string[], name: string): T {
  if (value === undefined) return {} as T
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(name, 'an object', value)
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      throw new KezInputError('argument_refused', `${name} has no member ${key}; it takes ${known.join(', ')}`, {
        kind: 'input',
        detail: `${name}.${key}`,
      })
    }
  }
  return value
}

/** An instance of one of this package's classes. */
export function instance<T>(value: unknown, type: { prototype: T; name: string }, name: string): T {
  if (!(value instanceof (type as unknown as abstract new () => T))) refuse(name, `a ${type.name}`, value)
  return value as T
}

export { refuse }
