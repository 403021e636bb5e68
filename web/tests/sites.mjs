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
