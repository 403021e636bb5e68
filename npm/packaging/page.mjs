// Uses the package in a page in Chromium, with the local servers in the place of the public ones: every
// host name leads to one TLS front, which passes on by host and writes down who was asked.
//
//     node page.mjs <certificate> <key> <host=base>… < script      prints {…what it gives, asked, local}
//
// The script is `async (kez) => ({…})`.
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { inChromium } from './browsers.mjs'
import { front, leadTo } from './front.mjs'
import { serve } from './server.mjs'

const [certificate, key, ...pairs] = process.argv.slice(2)
const routes = new Map(pairs.map((pair) => pair.split(/=(.*)/s).slice(0, 2)))
const dist = fileURLToPath(new URL('../dist', import.meta.url))

const script = `import * as kez from '/kez/index.js'
const script = ${await text(process.stdin)}
kez.init()
  .then(() => script(kez))
  .catch((error) => ({ error: error.stack }))
  .then((result) => { document.title = JSON.stringify(result) })
`
// A page of its own origin, with the policy that a careful site would have.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src https: wss: http://localhost:*"
const page = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>'
const app = await serve({ kez: dist }, { '/page.html': page, '/page.js': script }, policy)
routes.set('app.example', app.url)

const tls = await front(certificate, key, routes, 'https://app.example')
const local = []
const result = await inChromium(
  'https://app.example/page.html',
  leadTo(tls),
  async (page) => {
    page.on('request', (request) => request.url().startsWith('http://') && local.push(request.url()))
  },
)
console.log(JSON.stringify({ ...result, asked: tls.asked, local }))
process.exit(0)
