/** What there is before any page. No route has a `load`: the router of an app without one is a twentieth of its pages smaller. */
import type { ClientInit } from '@sveltejs/kit/hooks'
import { loadConfig } from '#lib/settings.ts'
import { start } from '#lib/start.ts'
import { loadText, loadTextsOf } from '#lib/text.ts'

export const init: ClientInit = async () => {
  try {
    await Promise.all([loadText(), loadTextsOf(location.pathname), loadConfig(), start()])
  } catch (error) {
    const main = document.createElement('main')
    main.textContent = `KEZ could not start (${String(error)}). Load this page again.`
    document.body.replaceChildren(main)
    throw error
  }
}
