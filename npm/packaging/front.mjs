// A TLS front on loopback that stands for any host: passes requests and WebSockets on to the local server
// that has the host's place, and writes down what pages asked.
import { readFileSync } from 'node:fs'
import { createServer as createProxy, request as plain } from 'node:http'
import { createServer } from 'node:https'
import { connect } from 'node:net'

/** The options of a browser for which every host but localhost is that front. */
export const leadTo = ({ port }) => [
  `--host-resolver-rules=MAP * 127.0.0.1:${port}, EXCLUDE localhost, EXCLUDE 127.0.0.1`,
  '--ignore-certificate-errors',
]

// What Mastodon answers when a browser asks whether a page may write. snac, which stands for it here, lets no
// page change anything, but is Mastodon's API otherwise: an EMULATION of these headers alone.
const MASTODON = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'POST, PUT, DELETE, GET, PATCH, OPTIONS',
  'access-control-max-age': '7200',
}
const FEDIVERSE = ['social.example']

/**
 * Starts one. `page` is the origin whose requests are written down in `asked`: what a page asks of others carries its
 * origin, and the browser's own errands do not. `every` has all of them.
 */
export async function front(certificate, key, routes, page) {
  const [asked, every] = [[], []]
  const base = (request) => {
    const [host] = request.headers.host.split(':')
    const { origin, cookie, referer } = request.headers
    const one = { method: request.method, host, path: request.url, cookie, referer }
    every.push(one)
    if (origin === page && host !== new URL(page).host) asked.push(one)
    return routes.get(host)
  }
  const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
    const to = base(request)
    if (to === undefined) return response.writeHead(502).end()
    const wanted = request.headers['access-control-request-headers']
    if (request.method === 'OPTIONS' && FEDIVERSE.includes(request.headers.host.split(':')[0])) {
      return response.writeHead(200, { ...MASTODON, 'access-control-allow-headers': wanted ?? '' }).end()
    }
    const options = { method: request.method, headers: request.headers }
    const inner = plain(new URL(request.url, to), options, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      answer.pipe(response)
    })
    inner.on('error', () => response.destroy())
    request.pipe(inner)
  })
  server.on('upgrade', (request, socket, head) => {
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
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address()
  // For browsers whose names cannot be mapped: a proxy that leads every host there as well.
  const proxy = createProxy().on('connect', (_, socket) => {
    const inner = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(inner).pipe(socket)
    })
    inner.on('error', () => socket.destroy())
    socket.on('error', () => inner.destroy())
  })
  await new Promise((done) => proxy.listen(0, '127.0.0.1', done))
  const close = () => [server, proxy].forEach((one) => one.close())
  return { port, proxy: proxy.address().port, asked, every, close }
}
