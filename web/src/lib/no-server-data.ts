/** In the place of `devalue` (vite.config.ts): what SvelteKit's client writes and reads by it without a server. */
export const stringify = (value: unknown): string => JSON.stringify(value ?? null)
export const parse = (text: string): unknown => JSON.parse(text)

function none(): never {
  throw new Error('there is no data of a server')
}
export { none as stringifyAsync, none as unflatten, none as uneval }
