// The sites whose pages people look at, on this machine: EMULATED by hand-made pages, since the real ones cannot be had. What
// their platforms answer comes from the servers of world.mjs.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { routes } from './world.mjs'

const KINDS = {
  'github.com': 'github', 'gist.github.com': 'github', 'bsky.app': 'bluesky', 'mastodon.social': 'mastodon',
  'njump.me': 'nostr', 'nosta.me': 'nostr', 'iris.to': 'nostr', 'primal.net': 'nostr', 'snort.social': 'nostr', 'coracle.social': 'nostr',
  'nostrudel.ninja': 'nostr', 'jumble.social': 'nostr',
}
/** Which page a site has now. */
export const kinds = new Map(Object.entries(KINDS))
const short = (text) => `${text.slice(0, 12)}…${text.slice(-6)}`

/** Files that people have put at other.example. */
export const files = new Map()

const server = createServer((request, response) => {
  if (request.headers.host === 'other.example') {
    const file = files.get(request.url)
    response.setHeader('access-control-allow-origin', '*')
    return file === undefined ? response.writeHead(404).end() : response.end(file)
  }
  const kind = kinds.get(request.headers.host)
  const file = readFileSync(new URL(`sites/${kind}.html`, import.meta.url), 'utf8')
  let account = decodeURIComponent(request.url.split('/').filter((part) => part !== '').at(-1) ?? '')
  if (kind === 'mastodon' && !account.slice(1).includes('@')) account += `@${request.headers.host}`
  const values = { account, short: short(account), name: 'A. Person' }
  response.setHeader('content-type', 'text/html; charset=utf-8')
  // As strict as a page can be: the mark is there all the same.
  response.setHeader('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
  response.end(file.replace(/\{(account|short|name)\}/g, (_, name) => values[name]))
})
await new Promise((done) => server.listen(0, '127.0.0.1', done))
for (const host of [...Object.keys(KINDS), 'other.example']) routes.set(host, `http://127.0.0.1:${server.address().port}`)

export const closeSites = () => server.close()

/**
 * What a hostile page tries, in the page: to read the mark, to speak to the extension at `home`, to click in the user's name, to
 * draw a mark of its own over the real one and take another's name, and to load the extension's files. Gives what it got.
 */
export async function attack(home) {
  const host = document.querySelector('kez-mark')
  const tried = { root: host.shadowRoot, attributes: host.getAttributeNames(), text: host.textContent, runtime: typeof globalThis.chrome?.runtime?.sendMessage }
  const messages = [{ type: 'look', url: 'https://github.com/alice' }, { type: 'check', tab: 1, url: 'https://github.com/alice' }, { type: 'accept', tab: 1 }]
  for (const message of messages) {
    postMessage(message, '*')
    dispatchEvent(new CustomEvent('message', { detail: message }))
  }
  host.click()
  host.dispatchEvent(new MouseEvent('click', { bubbles: true, composed: true }))
  const mine = document.createElement('div')
  mine.textContent = '✓ 5 of 5 verified'
  mine.style.cssText = 'position: fixed; inset: 0; z-index: 2147483647; background: white'
  document.body.append(mine)
  document.querySelector('.vcard-username').textContent = 'alice'
  tried.file = await fetch(`${home}background.js`).then(() => 'read', () => 'refused')
  await new Promise((done) => {
    const frame = document.createElement('iframe')
    frame.onload = frame.onerror = done
    // Not every browser tells a page of a frame that it refuses.
    setTimeout(done, 2000)
    frame.src = `${home}popup.html`
    document.body.append(frame)
  })
  return tried
}
/** What it gets. */
export const NOTHING = { root: null, attributes: ['style'], text: '', runtime: 'undefined', file: 'refused' }

/** Takes the mark away again and again, in the page, for a second. Gives how often it was there. */
export async function takeAway() {
  let removed = 0
  const take = () => {
    const host = document.querySelector('kez-mark')
    if (host !== null) (removed += 1), host.remove()
  }
  const watcher = new MutationObserver(take)
  watcher.observe(document.documentElement, { childList: true, subtree: true })
  take()
  await new Promise((done) => setTimeout(done, 1000))
  return removed
}
