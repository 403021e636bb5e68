declare global {
  interface SymbolConstructor {
    /** What `using` calls at the end of a block. */
    readonly dispose: unique symbol
  }
}

/** What holds memory of the WebAssembly instance. */
export interface Disposable {
  /** Gives the memory back. */
  free(): void
  /** As {@link free}, for `using`. */
  [Symbol.dispose](): void
}

/** Lets `using` free the objects of a class, where the engine has `using`. */
export function disposable(type: { prototype: { free(): void } }): void {
  const symbol: symbol | undefined = Symbol.dispose
  if (symbol === undefined) return
  Object.defineProperty(type.prototype, symbol, {
    value(this: { free(): void }) {
      this.free()
    },
    configurable: true,
    writable: true,
  })
}
