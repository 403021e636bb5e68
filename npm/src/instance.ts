/**
 * The one WebAssembly instance: how it starts, and what happens when it breaks.
 */
import type * as full from './glue/kez_wasm.js'
import {
  fromThrown,
  isThrown,
  KezError,
  KezInternalError,
  KezNotInitializedError,
  KezUsageError,
} from './errors.js'
import { drive as driveTask, type Task } from './task.js'

/**
 * The bindings of a module. That of `kez/verify` has fewer.
 *
 * @internal
 */
export type Glue = typeof full

/** Where the module comes from. */
export type Source = string | URL | Request | Response | BufferSource | WebAssembly.Module

let glue: Glue | undefined
let state: 'none' | 'ready' | 'poisoned' = 'none'
/** Counts instances: what an earlier one made cannot be used with a later one. */
let generation = 0
let starting: Promise<void> | undefined
let cause: unknown
/** What ends the work in progress when the instance breaks. */
const waiting = new Set<(error: KezInternalError) => void>()

function prepare(own: Glue): void {
  // A poisoned instance is thrown away as a whole.
  if (state === 'poisoned' && glue === own) own.__wbg_reset_state()
}

function started(own: Glue): void {
  glue = own
  state = 'ready'
  generation += 1
}

function failed(error: unknown): KezNotInitializedError {
  return new KezNotInitializedError(
    'init_failed',
    `the WebAssembly module could not be loaded: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  )
}

/**
 * Starts the instance, once; after a failure it may be tried again. Whichever entry comes first
 * decides what the instance can do.
 *
 * @internal
 */
export function start(own: Glue, source: () => Source | Promise<Source>): Promise<void> {
  if (state === 'ready') return Promise.resolve()
  starting ??= (async () => {
    try {
      prepare(own)
      await own.default({ module_or_path: await source() })
      started(own)
    } catch (error) {
      throw failed(error)
    } finally {
      starting = undefined
    }
  })()
  return starting
}

/**
 * As {@link start}, at once.
 *
 * @internal
 */
export function startSync(own: Glue, module: BufferSource | WebAssembly.Module): void {
  if (state === 'ready') return
  try {
    prepare(own)
    own.initSync({ module })
    started(own)
  } catch (error) {
    throw failed(error)
  }
}

/** Whether {@link start} has succeeded and nothing has broken since. */
export function isReady(): boolean {
  return state === 'ready'
}

function poison(error: unknown): KezInternalError {
  state = 'poisoned'
  cause = error
  for (const stop of [...waiting]) stop(poisoned())
  return poisoned()
}

function poisoned(): KezInternalError {
  return new KezInternalError(
    'internal_panic',
    'kez met a defect of its own and stopped; call init() to start afresh, and please report this',
    { kind: 'internal', cause },
  )
}

/**
 * Calls into the instance. What the core refuses becomes this package's error; anything else is a
 * panic, after which the instance's memory cannot be trusted.
 *
 * @internal
 */
export function call<T>(work: (wasm: Glue) => T): T {
  if (glue === undefined || state === 'none') {
    throw new KezNotInitializedError('not_initialized', 'kez is not ready: call `await init()` first')
  }
  if (state === 'poisoned') throw poisoned()
  try {
    return work(glue)
  } catch (error) {
    if (error instanceof KezError) throw error
    if (isThrown(error)) throw fromThrown(error)
    throw poison(error)
  }
}

/**
 * Refuses what the module of `kez/verify` leaves out.
 *
 * @internal
 */
export function signing(): void {
  if (glue !== undefined && !('Draft' in glue)) {
    const message = 'kez/verify was started, which does not sign and encode: import all of it from kez'
    throw new KezUsageError('signing_left_out', message)
  }
}

/**
 * Drives a task to its end, unless the instance breaks before; then the signal has its say.
 *
 * @internal
 */
export async function drive<T>(begin: (wake: () => void) => Task, signal?: AbortSignal): Promise<T> {
  const { done, stop } = driveTask(begin, call)
  waiting.add(stop)
  try {
    const result = await done
    signal?.throwIfAborted()
    return result as T
  } finally {
    waiting.delete(stop)
  }
}

/** What the glue's classes have in common. */
interface Freeable {
  free(): void
}

/**
 * Holds an object of the instance, until it is freed or the instance is gone.
 *
 * @internal
 */
export class Handle<T extends Freeable> {
  #inner: T | undefined
  readonly #generation = generation

  constructor(make: (wasm: Glue) => T) {
    this.#inner = call(make)
    this.#generation = generation
  }

  /** Calls into the instance with the object. */
  use<R>(work: (inner: T, wasm: Glue) => R): R {
    return call((wasm) => work(this.inner(), wasm))
  }

  /** The object, for a call that takes several. */
  inner(): T {
    if (this.#inner === undefined) throw freed('the object was freed')
    if (this.#generation !== generation) throw freed('the object belongs to an instance that is gone')
    return this.#inner
  }

  /** Gives the memory back; what is called twice does nothing the second time. */
  free(): void {
    const inner = this.#inner
    this.#inner = undefined
    if (inner !== undefined && this.#generation === generation && isReady()) call(() => inner.free())
  }
}

function freed(message: string): KezUsageError {
  return new KezUsageError('use_after_free', message)
}
