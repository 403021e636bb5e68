// Strict JSON (SPEC.md, "Strict JSON").

export class Refused extends Error {
  code: string
  constructor(code: string, detail = '') {
    super(`${code} ${detail}`)
    this.code = code
  }
}

export function refuse(code: string, detail = ''): never {
  throw new Refused(code, detail)
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type JsonObject = { [name: string]: Json }

const MAX_DEPTH = 8

// KEZ-JSON-01
export function decodeUtf8(bytes: Uint8Array): string {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return refuse('json_utf8')
  }
  return text.startsWith('\ufeff') ? refuse('json_utf8') : text
}

/** `extraDepth` is for fork objects, in which depth counts from the top of each event (KEZ-JSON-06). */
export function parse(bytes: Uint8Array, extraDepth = 0): Json {
  const text = decodeUtf8(bytes)
  let at = 0

  const syntax = (): never => refuse('json_syntax', `at ${at}`)
  const space = () => {
    while (at < text.length && ' \t\n\r'.includes(text[at])) at += 1
  }

  function value(depth: number): Json {
    const c = text[at]
    if (c === '{' || c === '[') {
      if (depth + 1 > MAX_DEPTH + extraDepth) refuse('json_depth') // KEZ-JSON-06
      at += 1
      return c === '{' ? object(depth + 1) : array(depth + 1)
    }
    if (c === '"') return string()
    if (c !== undefined && (c === '-' || (c >= '0' && c <= '9'))) return number()
    for (const [word, meaning] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (text.startsWith(word, at)) {
        at += word.length
        return meaning
      }
    }
    return syntax()
  }

  function array(depth: number): Json[] {
    const items: Json[] = []
    space()
    if (text[at] === ']') return ((at += 1), items)
    for (;;) {
      space()
      items.push(value(depth))
      space()
      if (text[at] === ']') return ((at += 1), items)
      if (text[at] !== ',') syntax()
      at += 1
    }
  }

  function object(depth: number): JsonObject {
    const members: JsonObject = Object.create(null)
    space()
    if (text[at] === '}') return ((at += 1), members)
    for (;;) {
      space()
      if (text[at] !== '"') syntax()
      const name = string()
      space()
      if (text[at] !== ':') syntax()
      at += 1
      space()
      const member = value(depth)
      if (name in members) refuse('json_duplicate', name) // KEZ-JSON-03
      members[name] = member
      space()
      if (text[at] === '}') return ((at += 1), members)
      if (text[at] !== ',') syntax()
      at += 1
    }
  }

  function number(): number {
    const pattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
    pattern.lastIndex = at
    const match = pattern.exec(text) ?? syntax()
    at += match[0].length
    // "01" and "1." go on where the grammar of a number has ended.
    if (/[0-9.eE]/.test(text[at] ?? ' ')) syntax()
    // KEZ-JSON-05
    const n = Number(match[0])
    if (match[0] === '-0' || match[1] || match[2] || !Number.isSafeInteger(n)) refuse('json_number')
    return n
  }

  function string(): string {
    at += 1
    let out = ''
    for (;;) {
      const c = text[at]
      if (c === undefined) syntax()
      if (c === '"') {
        at += 1
        break
      }
      if (c < ' ') refuse('json_string')
      if (c !== '\\') {
        out += c
        at += 1
        continue
      }
      const escape = text[at + 1]
      const plain = '"\\/bfnrt'.indexOf(escape ?? '?')
      if (escape === 'u') {
        const hex = text.slice(at + 2, at + 6)
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) syntax()
        out += String.fromCharCode(parseInt(hex, 16))
        at += 6
      } else if (plain >= 0) {
        out += '"\\/\b\f\n\r\t'[plain]
        at += 2
      } else {
        syntax()
      }
    }
    // KEZ-JSON-04
    if (!out.isWellFormed()) refuse('json_string')
    for (const char of out) {
      const code = char.codePointAt(0)!
      if ((code & 0xfffe) === 0xfffe || (code >= 0xfdd0 && code <= 0xfdef)) refuse('json_string')
    }
    return out
  }

  space()
  const result = value(0)
  space()
  return at === text.length ? result : syntax()
}

/** How deep arrays and objects are nested: the outermost has depth 1. */
function nesting(text: string): number {
  let [depth, deepest] = [0, 0]
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') deepest = Math.max(deepest, (depth += 1))
    else if (token === ']' || token === '}') depth -= 1
  }
  return deepest
}

/** JSON by RFC 8259 alone, nested up to 64 deep ("Foreign JSON", and the search for proofs); nothing where it is none. */
export function foreign(text: string): any {
  if (nesting(text) > 64) return undefined
  try {
    return JSON.parse(text, reviver as (this: any, name: string, value: any) => any)
  } catch {
    return undefined
  }
}

/** Numbers are integers by their spelling; strings have no lone surrogates and no noncharacters. */
function reviver(_: string, value: unknown, { source }: { source?: string }): unknown {
  if (typeof value === 'string') {
    return value.toWellFormed().replace(/[\p{Noncharacter_Code_Point}]/gu, '\ufffd')
  }
  if (typeof value !== 'number') return value
  return /^-?[0-9]+$/.test(source ?? '') && Number.isSafeInteger(value) ? value : null
}

export const isObject = (value: unknown): value is { [name: string]: any } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The result of some work, or the refusal. */
export function attempt<T>(work: () => T): T | Refused {
  try {
    return work()
  } catch (error) {
    if (error instanceof Refused) return error
    throw error
  }
}
