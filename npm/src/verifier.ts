/**
 * Verifying what is published.
 */
import { Chain } from './chain.js'
import * as check from './check.js'
import type { Code, Graph, Report } from './data.js'
import type * as glue from './glue/kez_wasm.js'
import { call, Held, type Instance, main, type Module, signing } from './instance.js'

/**
 * Remembers the longest chain seen of each primary, under the primary, and the head of each sigchain
 * server's log, under `log:` and the server's URL, so that a rollback or a rewritten log is noticed.
 */
export interface Memory {
  /** What was remembered last under a name. */
  get(name: string): string | undefined
  /** Remembers a text. */
  set(name: string, text: string): unknown
}

/** A step of a verification. */
export type ProgressEvent =
  | { type: 'asking'; place: string }
  | { type: 'answered'; place: string; code: Code | null }
  | { type: 'judged'; report: Report }

/** How to verify. Everything is optional. */
export interface VerifyOptions {
  /** Ends everything; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Is told of every step. */
  onProgress?: ((event: ProgressEvent) => void) | undefined
  /** Judges as of this time instead of now. */
  at?: Date | number | undefined
  /** Instead of the global one. It gets one `Request`; no header but `Accept` is set on it. */
  fetch?: ((request: Request) => Promise<Response>) | undefined
  /** Instead of the global class, which Node 20 does not have: pass the one of the package `ws`. */
  WebSocket?: (new (url: string) => WebSocket) | undefined
  /** Instead of `Date.now`: milliseconds since 1970. */
  clock?: (() => number) | undefined
  /** Remembers chains between calls; a `Map` will do. */
  memory?: Memory | undefined
  /** Further sources of sigchains: https URLs of bundles, wss URLs of relays. */
  sources?: readonly string[] | undefined
  /** Sigchains at hand, as bundles. */
  bundles?: readonly (string | Uint8Array)[] | undefined
  /** Resolvers for DNS over HTTPS, asked in order. */
  dns?: readonly string[] | undefined
  /** Relays, instead of the built-in ones. */
  relays?: readonly string[] | undefined
  /** Sigchain servers, each with its log's key after a `#` where that is known. */
  sigServers?: readonly string[] | undefined
  /** Keys of witnesses: more than half of them must have cosigned a server's log. */
  witnesses?: readonly string[] | undefined
  /** GitHub's API. */
  github?: string | undefined
  /** The PLC directory. */
  plc?: string | undefined
  /** The service that resolves Bluesky handles. */
  bluesky?: string | undefined
  /** Tests only: allows plain http and servers on this machine. */
  dangerAllowLoopback?: boolean | undefined
}

const OPTIONS: (keyof VerifyOptions)[] = [
  'signal',
  'onProgress',
  'at',
  'fetch',
  'WebSocket',
  'clock',
  'memory',
  'sources',
  'bundles',
  'dns',
  'relays',
  'sigServers',
  'witnesses',
  'github',
  'plc',
  'bluesky',
  'dangerAllowLoopback',
]
const RESOLVERS = ['https://cloudflare-dns.com/dns-query', 'https://dns.google/dns-query']

/** The relays that are asked where `relays` names no others. */
export function defaultRelays(): string[] {
  signing()
  return call((wasm) => wasm.defaultRelays())
}

/** What the environment offers where the caller gives nothing; the Node entry sets more. */
export const defaults: {
  WebSocket?: () => Promise<VerifyOptions['WebSocket']>
  fetch?: (loopback: boolean) => VerifyOptions['fetch']
} = {}

/** @internal */
export function run<T>(
  options: VerifyOptions | undefined,
  extra: readonly string[],
  begin: (verifier: glue.Verifier, signal: AbortSignal | undefined, wake: () => void) => glue.Task,
): Promise<T> {
  return runOn(main, options, extra, begin)
}

/** What every module's verifier has. */
type Common = Pick<glue.Verifier, 'addBundle' | 'endpoints' | 'free' | 'settings'>

/**
 * Runs a task of an instance's verifier.
 *
 * @internal
 */
export async function runOn<T, V extends Common>(
  instance: Instance<Module & { Verifier: new (host: unknown) => V }>,
  options: VerifyOptions | undefined,
  extra: readonly string[],
  begin: (verifier: V, signal: AbortSignal | undefined, wake: () => void) => glue.Task,
): Promise<T> {
  const given = check.options(options, [...OPTIONS, ...extra], 'options')
  const { signal, memory } = given
  if (signal !== undefined && typeof signal?.aborted !== 'boolean') {
    check.refuse('options.signal', 'an AbortSignal', signal)
  }
  signal?.throwIfAborted()
  const at = check.optionalSeconds(given.at, 'options.at')
  const progress = check.optionalFunction(given.onProgress, 'options.onProgress')
  const socket = check.optionalFunction(given.WebSocket, 'options.WebSocket')
  const list = (name: 'dns' | 'relays' | 'sources' | 'sigServers' | 'witnesses') => check.texts(given[name], `options.${name}`)
  const optional = (name: 'github' | 'plc' | 'bluesky') => check.optionalText(given[name], `options.${name}`)
  if (memory !== undefined && (typeof memory?.get !== 'function' || typeof memory.set !== 'function')) {
    check.refuse('options.memory', 'an object with get and set', memory)
  }
  const loopback = given.dangerAllowLoopback === true
  const bundles = (given.bundles ?? []).map((b, n) => check.textOrBytes(b, `options.bundles[${n}]`))
  const host = {
    fetch: check.optionalFunction(given.fetch, 'options.fetch') ?? defaults.fetch?.(loopback),
    WebSocket: socket ?? (await defaults.WebSocket?.()),
    clock: check.optionalFunction(given.clock, 'options.clock') ?? Date.now,
    recall: memory && ((name: string) => memory.get(name)),
    remember: memory && ((name: string, text: string) => memory.set(name, text)),
    // What a listener throws is reported as an uncaught error, and does not stop the verification.
    progress:
      progress &&
      ((event: ProgressEvent) => {
        try {
          progress(event)
        } catch (error) {
          queueMicrotask(() => {
            throw error
          })
        }
      }),
  }
  const resolvers = given.dns === undefined ? RESOLVERS : list('dns')
  const [sources, sigServers, witnesses] = [list('sources'), list('sigServers'), list('witnesses')]
  const relays = given.relays === undefined ? undefined : list('relays')
  const [github, plc, bluesky] = [optional('github'), optional('plc'), optional('bluesky')]
  const verifier = new Held(instance, (wasm) => new wasm.Verifier(host))
  try {
    verifier.use((v) => {
      v.settings(at, resolvers, sources, loopback)
      v.endpoints(github, plc, bluesky, relays, sigServers, witnesses)
      for (const bundle of bundles) v.addBundle(bundle)
    })
    return await instance.drive<T>((wake) => begin(verifier.inner(), signal, wake), signal)
  } finally {
    verifier.free()
  }
}

/** Options of {@link verify} and {@link identity}. */
export interface LookupOptions extends VerifyOptions {
  /** Verifies for this owner only, and ignores proofs by other owners: the owner's primary key. */
  by?: string | undefined
}

/** Options of {@link identity}. */
export interface IdentityOptions extends LookupOptions {
  /**
   * Checks up to this many accounts of the sigchain, 100 by default. The budget of requests, hosts and
   * seconds grows with it. Accounts beyond it are edges with the reason `search_incomplete`.
   */
  limit?: number | undefined
}

/**
 * Looks an account up on its platform and verifies the proofs there: one report for each owner
 * whose proof the account shows, the best first, and always at least one. A proof that does not
 * verify is a report, not an error. If several owners have a valid proof, each of their reports
 * has the note `contested`.
 *
 * `subject` is anything that a user types. Names (`alice@example.org`) and pages are resolved over
 * the network first; a name that its host does not know throws `identity_not_found`.
 *
 * ```js
 * const [report] = await verify('github:jason')
 * report.status // 'valid', 'invalid', 'revoked', 'expired', 'unreachable' or 'fork'
 * ```
 */
export async function verify(subject: string, options?: LookupOptions): Promise<Report[]> {
  const value = check.text(subject, 'subject')
  const by = check.optionalText(options?.by, 'options.by')
  return run(options, ['by'], (verifier, signal, wake) => verifier.verify(value, by, signal, wake))
}

/**
 * The whole identity behind a key, handle, name, URL or domain, every claim of it verified. If
 * other owners have a valid proof of the same account, `contested_by` names them.
 */
export async function identity(query: string, options?: IdentityOptions): Promise<Graph> {
  const value = check.text(query, 'query')
  const by = check.optionalText(options?.by, 'options.by')
  const limit = options?.limit === undefined ? undefined : check.whole(options.limit, 'options.limit')
  return run(options, ['by', 'limit'], (verifier, signal, wake) => verifier.identity(value, by, limit, signal, wake))
}

/**
 * Verifies every proof in a text that is at hand, as if `subject` showed it (each claim's own
 * subject, if not given). Only the sigchains are fetched. One report for each account and owner,
 * the best first.
 *
 * Throws the error of the first proof if none can be read, and `proof_not_found` if there is none.
 */
export async function verifyProof(
  text: string,
  options?: VerifyOptions & { subject?: string | undefined },
): Promise<Report[]> {
  const value = check.text(text, 'text')
  const subject = check.optionalText(options?.subject, 'options.subject')
  return run(options, ['subject'], (verifier, signal, wake) =>
    verifier.verifyProof(value, subject, signal, wake),
  )
}

/** What the sources say of a primary's sigchain. */
export interface History {
  /**
   * `known` with a bundle; `absent`: the sources answered that there is none; `unchecked`: no source
   * was asked; `unknown`: it could not be established; `fork`: two branches that both verify.
   */
  state: 'known' | 'absent' | 'unchecked' | 'unknown' | 'fork'
  /** The chain, every event verified. */
  bundle: string | null
  /** Whether no source could be asked, so that this is what was seen before. */
  remembered: boolean
  /** Whether the sources serve less than was seen before. */
  rolledBack: boolean
  /** Why it may not be the chain, or not all of it. */
  code: Code | null
  /** The code in more detail. */
  detail: string | null
}

/** Fetches and verifies the sigchain of a primary, and joins it with what was seen before. */
export async function history(primary: string, options?: VerifyOptions): Promise<History> {
  signing()
  const value = check.text(primary, 'primary')
  return run(options, [], (verifier, signal, wake) => verifier.history(value, signal, wake))
}

/** What the caller knows of a primary's sigchain. */
export type KnownHistory =
  /** The sources answered that there is no chain. */
  | 'absent'
  /** No source was asked: the report then has the note `history_unchecked`. */
  | 'unchecked'
  /** Sources were asked, and it could not be established whether there is a chain. */
  | 'unknown'
  /** One copy, or two that are compared. */
  | Chain
  | readonly [Chain, Chain]

const WITHOUT_CHAIN = ['absent', 'unchecked', 'unknown'] as const

/** Judges the first proof in a text by what is at hand. Nothing is fetched. */
export function judge(
  text: string,
  options: {
    /** The account that shows the text. */
    subject: string
    /** What is known of the sigchain. */
    history: KnownHistory
    /** The platform's own id of the account. */
    account?: string | undefined
    /** Whether a longer chain was seen before. */
    rolledBack?: boolean | undefined
    /** As of when; now, if not given. */
    now?: Date | number | undefined
  },
): Report {
  const value = check.text(text, 'text')
  const known = ['subject', 'history', 'account', 'rolledBack', 'now']
  const given = check.options(options, known, 'options')
  const subject = check.text(given.subject, 'options.subject')
  const account = check.optionalText(given.account, 'options.account')
  const now = check.seconds(given.now ?? Date.now(), 'options.now')
  const { history } = given
  const [one, two] = Array.isArray(history) ? history : [history]
  if (typeof one === 'string') check.word(one, WITHOUT_CHAIN, 'options.history')
  else check.instance(one, Chain, 'options.history')
  if (two !== undefined) check.instance(two, Chain, 'options.history[1]')
  return call((wasm) => {
    const { KnownHistory } = wasm
    const held =
      typeof one === 'string'
        ? KnownHistory[one as (typeof WITHOUT_CHAIN)[number]]()
        : KnownHistory.known((one as Chain).inner(), two?.inner(), given.rolledBack === true)
    try {
      return wasm.judgeText(value, subject, account, held, now) as Report
    } finally {
      held.free()
    }
  })
}
