import { loadConfig } from '#lib/settings.ts'
import { start } from '#lib/start.ts'
import { loadText } from '#lib/text.ts'

// Everything happens in the reader's browser, in the reader's language: pages are shells.
export const ssr = false
export const prerender = true
export const trailingSlash = 'never'

export async function load(): Promise<void> {
  await Promise.all([loadText(), loadConfig(), start()])
}
