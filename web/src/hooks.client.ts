/** What there is before any page. No route has a `load`, so that SvelteKit leaves out what loads. */
import type { ClientInit } from '@sveltejs/kit/hooks'
import { loadConfig } from '#lib/settings.ts'
import { start } from '#lib/start.ts'
import { loadText } from '#lib/text.ts'

export const init: ClientInit = async () => {
  try {
    await Promise.all([loadText(location.pathname), loadConfig(), start()])
  } catch (error) {
    const main = document.createElement('main')
    main.textContent = `KEZ could not start (${String(error)}). Load this page again.`
    document.body.replaceChildren(main)
    throw error
  }
}
