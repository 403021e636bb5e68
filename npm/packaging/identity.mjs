// Verifies an identity in a page in Chromium, with the local servers in the place of the public ones:
// every host name leads to one TLS front, which passes on by host and writes down who was asked.
//
//     node identity.mjs <query> <certificate> <key> <host=base>…      prints {graph, asked}
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { request as plain } from 'node:http'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { inChromium } from './browsers.mjs'
import { serve } from './server.mjs'

const [query, certificate, key, ...pairs] = process.argv.slice(2)
const routes = new Map(pairs.map((pair) => pair.split(/=(.*)/s).slice(0, 2)))
const dist = fileURLToPath(new URL('../dist', import.meta.url))

const script = `import * as kez from '/kez/index.js'
const steps = []
kez.init()
  .then(() => kez.identity(${JSON.stringify(query)}, { dangerAllowLoopback: true, onProgress: (event) => steps.push(event.type) }))
  .then((graph) => ({ graph, steps }), (error) => ({ error: error.stack }))
  .then((result) => { document.title = JSON.stringify(result) })
`
// A page of its own origin, with the policy that a careful site would have.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src https: wss: http://localhost:*"
const page = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>'
const app = await serve({ kez: dist }, { '/page.html': page, '/page.js': script }, policy)
routes.set('app.example', app.url)

const asked = []
const base = (request) => {
  const [host] = request.headers.host.split(':')
  const { origin, cookie, referer } = request.headers
  // What a page asks of others carries its origin; the browser's own errands do not.
  if (origin === 'https://app.example' && host !== 'app.example') {
    asked.push({ method: request.method, host, path: request.url, cookie, referer })
  }
  return routes.get(host)
}
const front = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  const to = base(request)
  if (to === undefined) return response.writeHead(502).end()
  const options = { method: request.method, headers: request.headers }
  const inner = plain(new URL(request.url, to), options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers)
    answer.pipe(response)
  })
  inner.on('error', () => response.destroy())
  request.pipe(inner)
})
front.on('upgrade', (request, socket, head) => {
  const to = base(request)
  if (to === undefined) return socket.destroy()
  const { hostname, port } = new URL(to)
  const inner = connect(Number(port), hostname, () => {
    const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`)
    inner.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    inner.write(head)
    socket.pipe(inner).pipe(socket)
  })
  inner.on('error', () => socket.destroy())
  socket.on('error', () => inner.destroy())
})
await new Promise((done) => front.listen(0, '127.0.0.1', done))
const local = []
const result = await inChromium(
  'https://app.example/page.html',
  [`--host-resolver-rules=MAP * 127.0.0.1:${front.address().port}, EXCLUDE localhost`, '--ignore-certificate-errors'],
  async (page) => {
    page.on('request', (request) => request.url().startsWith('http://') && local.push(request.url()))
  },
)
console.log(JSON.stringify({ ...result, asked, local }))
process.exit(0)
