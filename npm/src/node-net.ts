/**
 * The network under Node, Deno and Bun, with what pages cannot do: names are resolved first, and
 * only public addresses are connected to, so that nobody's proof leads a server to its own inside.
 */
import type { LookupFunction } from 'node:net'

/** What may be reached. */
export interface Policy {
  /** The core's word on an address. */
  isPublic: (address: string) => boolean
  /** Tests only: allows loopback. */
  loopback: boolean
  /** Tests only: hosts that are served elsewhere, by base URL. */
  hosts?: ReadonlyMap<string, string> | undefined
}

/** An error with one of the core's codes of kind network. */
function failure(code: string, cause: Error): Error {
  return Object.assign(new Error(cause.message, { cause }), { code })
}

const TLS = /^(CERT_|ERR_TLS_|ERR_SSL_|EPROTO$|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/
const DNS = /^EAI_/

function named(error: NodeJS.ErrnoException): Error {
  const { code = '' } = error
  if (code === 'address_refused' || code === 'timeout' || error.name === 'AbortError') return error
  // Node's ENOTFOUND is getaddrinfo's EAI_NONAME or EAI_NODATA: the name has no address.
  if (code === 'ENOTFOUND') return failure('host_unknown', error)
  return failure(TLS.test(code) ? 'tls_failed' : DNS.test(code) ? 'dns_failed' : 'connect_failed', error)
}

/** Seconds that connecting may take. */
const CONNECT = 5

/** Content codings that are undone. None is asked for, but some servers compress for every client. */
const GZIP = /^(x-)?gzip$/i

const LOOPBACK = /^(127\.|::1$)/

/** A `fetch` for one `Request` that keeps the policy. It follows no redirect: the core does. */
export function fetchWith(policy: Policy): (request: Request) => Promise<Response> {
  const allowed = (address: string) => policy.isPublic(address) || (policy.loopback && LOOPBACK.test(address))
  return async (request) => {
    const [http, https, dns, { Readable, pipeline }, { createGunzip }] = await Promise.all([
      import('node:http'),
      import('node:https'),
      import('node:dns'),
      import('node:stream'),
      import('node:zlib'),
    ])
    const lookup: LookupFunction = (host, options, done) => {
      dns.lookup(host, { ...options, all: true }, (error, found) => {
        if (error) return done(error, '', 0)
        const open = found.filter(({ address }) => allowed(address))
        const [first] = open
        if (first === undefined) {
          return done(failure('address_refused', new Error(`${host} is at ${found[0]?.address}`)), '', 0)
        }
        return options.all ? done(null, open) : done(null, first.address, first.family)
      })
    }
    const url = new URL(request.url)
    const headers: Record<string, string> = { 'user-agent': 'kez', host: url.host }
    request.headers.forEach((value, name) => (headers[name] = value))
    const base = policy.hosts?.get(url.hostname)
    const target = base === undefined ? url : new URL(url.pathname + url.search, base)
    const body = request.body === null ? undefined : new Uint8Array(await request.arrayBuffer())
    if (body !== undefined) headers['content-length'] = String(body.length)
    const { request: start } = target.protocol === 'https:' ? https : http
    return new Promise((resolve, reject) => {
      const options = { method: request.method, headers, lookup, signal: request.signal, agent: false as const }
      const sent = start(target, options, (answer) => {
        const status = answer.statusCode ?? 0
        const empty = status === 204 || status === 205 || status === 304
        if (empty) answer.resume()
        const coding = answer.headers['content-encoding']?.trim() ?? ''
        const zipped = GZIP.test(coding)
        if (!empty && !zipped && !/^(identity)?$/i.test(coding)) {
          answer.destroy()
          reject(failure('response_refused', new Error(`the body has the content coding ${coding}`)))
          return
        }
        // Errors reach the reader of the stream.
        const plain = zipped && !empty ? pipeline(answer, createGunzip(), () => {}) : answer
        const stream = empty ? null : (Readable.toWeb(plain) as ReadableStream<Uint8Array>)
        const pairs = Object.entries(answer.headers).flatMap(([name, value]) =>
          value === undefined ? [] : [[name, String(value)] as [string, string]],
        )
        resolve(new Response(stream, { status, headers: pairs }))
      })
      const late = setTimeout(() => sent.destroy(failure('timeout', new Error(`no connection after ${CONNECT} s`))), CONNECT * 1000)
      sent.on('socket', (socket) => {
        socket.once(target.protocol === 'https:' ? 'secureConnect' : 'connect', () => clearTimeout(late))
      })
      sent.on('close', () => clearTimeout(late))
      sent.on('error', (error) => reject(request.signal.aborted ? request.signal.reason : named(error)))
      sent.end(body)
    })
  }
}

/** Listens on 127.0.0.1 for a browser that comes back with a query, and shows it a page then. */
export async function redirect(page: string): Promise<{ port: number; query: Promise<string> }> {
  const { createServer } = await import('node:http')
  const server = createServer()
  const query = new Promise<string>((resolve) => {
    server.on('request', (request, answer) => {
      const { pathname, search } = new URL(request.url ?? '/', 'http://127.0.0.1')
      const comesBack = request.method === 'GET' && pathname === '/' && search !== ''
      answer.writeHead(comesBack ? 200 : 404, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
        connection: 'close',
      })
      answer.end(comesBack ? page : '', () => {
        if (!comesBack) return
        server.close()
        resolve(search.slice(1))
      })
    })
  })
  await new Promise<void>((resolve, reject) => server.on('error', reject).listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return { port: typeof address === 'object' ? (address?.port ?? 0) : 0, query }
}

/** Asks a resolver, `address:port`, by plain DNS: three times over UDP, then over TCP. */
export async function exchange(server: string, message: Uint8Array): Promise<Uint8Array> {
  const [, literal, address, port] = /^(?:\[([^\]]+)\]|([0-9.]+)):([0-9]+)$/.exec(server) ?? []
  const host = literal ?? address
  if (host === undefined) throw new Error('address:port')
  const answer = await udp(host, Number(port), message)
  // Bit 1 of the third byte is TC: the answer did not fit.
  const whole = answer !== undefined && answer.length > 3 && ((answer[2] ?? 0) & 2) === 0
  return whole ? answer : tcp(host, Number(port), message)
}

async function udp(host: string, port: number, message: Uint8Array): Promise<Uint8Array | undefined> {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  try {
    return await new Promise((resolve, reject) => {
      let tries = 0
      let timer: NodeJS.Timeout
      const send = () => {
        tries += 1
        if (tries > 3) return resolve(undefined)
        socket.send(message)
        timer = setTimeout(send, 2000)
      }
      const end = <T>(done: (value: T) => void) => (value: T) => {
        clearTimeout(timer)
        done(value)
      }
      socket.on('error', end(reject))
      socket.on('message', (bytes) => {
        if (bytes[0] === message[0] && bytes[1] === message[1]) end(resolve)(new Uint8Array(bytes))
      })
      socket.connect(port, host, send)
    })
  } finally {
    socket.close()
  }
}

async function tcp(host: string, port: number, message: Uint8Array): Promise<Uint8Array> {
  const { connect } = await import('node:net')
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => {
      socket.write(Uint8Array.of(message.length >> 8, message.length & 255))
      socket.write(message)
    })
    let bytes = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk])
      if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE()) return
      resolve(new Uint8Array(bytes.subarray(2, 2 + bytes.readUInt16BE())))
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the server closed the connection')))
  })
}
