/**
 * In the place of `devalue` and of SvelteKit's `fetcher.js` (vite.config.ts): what its client does with both where no page
 * has data of a server. It wraps the page's `fetch` otherwise.
 */
export const stringify = (value: unknown): string => JSON.stringify(value ?? null)
export const parse = (text: string): unknown => JSON.parse(text)
export const initial_fetch = (url: RequestInfo | URL, init?: RequestInit): Promise<Response> => fetch(url, init)
export const subsequent_fetch = (_: unknown, url: string, init?: RequestInit): Promise<Response> => fetch(url, init)

function none(): never {
  throw new Error('there is no data of a server')
}
export { none as stringifyAsync, none as unflatten, none as uneval, none as lock_fetch, none as unlock_fetch, none as dev_fetch }
