/**
 * The WebAssembly instances: how they start, and what happens when they break.
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

/** What every module's glue has. */
export interface Module {
  default(options: { module_or_path: Source | Promise<Source> }): Promise<unknown>
  initSync(options: { module: BufferSource | WebAssembly.Module }): unknown
  __wbg_reset_state(): void
}

/**
 * An instance of a module: how it starts, and what happens when it breaks.
 *
 * @internal
 */
export class Instance<G extends Module> {
  readonly #name: string
  readonly #init: string
  #glue: G | undefined
  #state: 'none' | 'ready' | 'poisoned' = 'none'
  #generation = 0
  #starting: Promise<void> | undefined
  #cause: unknown
  /** What ends the work in progress when the instance breaks. */
  readonly #waiting = new Set<(error: KezInternalError) => void>()

  /** Its name for users, and that of the function that starts it. */
  constructor(name: string, init: string) {
    this.#name = name
    this.#init = init
  }

  /** The bindings, once it was started. */
  get glue(): G | undefined {
    return this.#glue
  }

  /** Counts instances: what an earlier one made cannot be used with a later one. */
  get generation(): number {
    return this.#generation
  }

  /** What {@link start} has begun and not ended. */
  get starting(): Promise<void> | undefined {
    return this.#starting
  }

  /** Whether it was started and nothing has broken since. */
  get isReady(): boolean {
    return this.#state === 'ready'
  }

  #prepare(own: G): void {
    // A poisoned instance is thrown away as a whole.
    if (this.#state === 'poisoned' && this.#glue === own) own.__wbg_reset_state()
  }

  #started(own: G): void {
    this.#glue = own
    this.#state = 'ready'
    this.#generation += 1
  }

  /** Starts the instance, once; after a failure it may be tried again. */
  start(own: G, source: () => Source | Promise<Source>): Promise<void> {
    if (this.isReady) return Promise.resolve()
    this.#starting ??= (async () => {
      try {
        this.#prepare(own)
        await own.default({ module_or_path: await source() })
        this.#started(own)
      } catch (error) {
        throw failed(error)
      } finally {
        this.#starting = undefined
      }
    })()
    return this.#starting
  }

  /** As {@link start}, at once. */
  startSync(own: G, module: BufferSource | WebAssembly.Module): void {
    if (this.isReady) return
    try {
      this.#prepare(own)
      own.initSync({ module })
      this.#started(own)
    } catch (error) {
      throw failed(error)
    }
  }

  #poison(error: unknown): KezInternalError {
    this.#state = 'poisoned'
    this.#cause = error
    for (const stop of [...this.#waiting]) stop(this.#poisoned())
    return this.#poisoned()
  }

  #poisoned(): KezInternalError {
    return new KezInternalError(
      'internal_panic',
      `kez met a defect of its own and stopped; call ${this.#init}() to start afresh, and please report this`,
      { kind: 'internal', cause: this.#cause },
    )
  }

  /**
   * Calls into the instance. What the core refuses becomes this package's error; anything else is a
   * panic, after which the instance's memory cannot be trusted.
   */
  call<T>(work: (wasm: G) => T): T {
    if (this.#glue === undefined || this.#state === 'none') {
      throw notReady(this.#name, this.#init)
    }
    if (this.#state === 'poisoned') throw this.#poisoned()
    try {
      return work(this.#glue)
    } catch (error) {
      if (error instanceof KezError) throw error
      if (isThrown(error)) throw fromThrown(error)
      throw this.#poison(error)
    }
  }

  /** Drives a task to its end, unless the instance breaks before; then the signal has its say. */
  async drive<T>(begin: (wake: () => void) => Task, signal?: AbortSignal): Promise<T> {
    const { done, stop } = driveTask(begin, (work) => this.call(work))
    this.#waiting.add(stop)
    try {
      const result = await done
      signal?.throwIfAborted()
      return result as T
    } finally {
      this.#waiting.delete(stop)
    }
  }
}

function notReady(name: string, init: string): KezNotInitializedError {
  return new KezNotInitializedError('not_initialized', `${name} is not ready: call \`await ${init}()\` first`)
}

function failed(error: unknown): KezNotInitializedError {
  return new KezNotInitializedError(
    'init_failed',
    `the WebAssembly module could not be loaded: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  )
}

/**
 * The one instance of all but importing. Whichever entry starts it decides what it can do.
 *
 * @internal
 */
export const main = new Instance<Glue>('kez', 'init')

/**
 * What was split off the module of `kez`, and is loaded into its instance.
 *
 * @internal
 */
export class Part {
  readonly #name: string
  readonly #init: string
  /** Of which instance it is a part. */
  #generation = 0
  #starting: Promise<void> | undefined

  /** Its name for users, and that of the function that loads it. */
  constructor(name: string, init: string) {
    this.#name = name
    this.#init = init
  }

  get #isReady(): boolean {
    return this.#generation === main.generation
  }

  /** Loads it, once an instance, when that was started; after a failure it may be tried again. */
  start(source: () => Source | Promise<Source>): Promise<void> {
    this.#starting ??= (async () => {
      try {
        // `init` may come in the same breath.
        await Promise.resolve()
        await main.starting
        const generation = main.call(() => main.generation)
        signing()
        if (this.#isReady) return
        const from = await source()
        await main.call((wasm) => wasm.extend(from))
        this.#generation = generation
      } catch (error) {
        throw error instanceof KezError ? error : failed(error)
      } finally {
        this.#starting = undefined
      }
    })()
    return this.#starting
  }

  /** Refuses to go on before it was loaded. */
  check(): void {
    if (!main.call(() => this.#isReady)) throw notReady(this.#name, this.#init)
  }
}

/** @internal */
export const start = main.start.bind(main)
/** @internal */
export const startSync = main.startSync.bind(main)

/** Whether the module was started and nothing has broken since. */
export function isReady(): boolean {
  return main.isReady
}

/** @internal */
export function call<T>(work: (wasm: Glue) => T): T {
  return main.call(work)
}

/**
 * Refuses what the module of `kez/verify` leaves out.
 *
 * @internal
 */
export function signing(): void {
  if (main.glue !== undefined && !('Draft' in main.glue)) {
    const message = 'kez/verify was started, which does not sign and encode: import all of it from kez'
    throw new KezUsageError('signing_left_out', message)
  }
}

/** What the glue's classes have in common. */
interface Freeable {
  free(): void
}

/**
 * Holds an object of an instance, until it is freed or the instance is gone.
 *
 * @internal
 */
export class Held<T extends Freeable, G extends Module> {
  readonly #instance: Instance<G>
  #inner: T | undefined
  readonly #generation: number

  constructor(instance: Instance<G>, make: (wasm: G) => T) {
    this.#instance = instance
    this.#inner = instance.call(make)
    this.#generation = instance.generation
  }

  /** Calls into the instance with the object. */
  use<R>(work: (inner: T, wasm: G) => R): R {
    return this.#instance.call((wasm) => work(this.inner(), wasm))
  }

  /** The object, for a call that takes several. */
  inner(): T {
    if (this.#inner === undefined) throw freed('the object was freed')
    if (this.#generation !== this.#instance.generation) throw freed('the object belongs to an instance that is gone')
    return this.#inner
  }

  /** Gives the memory back; what is called twice does nothing the second time. */
  free(): void {
    const inner = this.#inner
    this.#inner = undefined
    const there = this.#instance.isReady && this.#generation === this.#instance.generation
    if (inner !== undefined && there) this.#instance.call(() => inner.free())
  }
}

/**
 * As {@link Held}, of the main instance.
 *
 * @internal
 */
export class Handle<T extends Freeable> extends Held<T, Glue> {
  constructor(make: (wasm: Glue) => T) {
    super(main, make)
  }
}

function freed(message: string): KezUsageError {
  return new KezUsageError('use_after_free', message)
}
