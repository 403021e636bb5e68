// People of tests, made by the package in Node: keys, claims, chains, published where the servers of world.mjs are.
import { Chain, Claim, init, SecretKey } from '../../npm/dist/node.js'
import { nostrKey } from '../../npm/packaging/nip07.mjs'
import { routes, wish } from './world.mjs'

await init()
const SIG = 'https://sig.example'
/** As `fetch`, with the servers of this machine in the place of their hosts. */
const here = (url, options) => {
  const { origin, hostname } = new URL(url)
  return fetch(String(url).replace(origin, routes.get(hostname)), options)
}

export class Somebody {
  key = SecretKey.generate()
  chain = Chain.start(this.key.identity)

  /** A claim, which the chain lists unless it is told not to. */
  async claim(subject, { list = true, ...options } = {}) {
    const claim = await Claim.create({ subject, signer: this.key, chain: this.chain, sources: [this.chain.urlAt(SIG)], ...options })
    if (list) await this.append({ type: 'add', subject, claim: claim.id })
    return claim
  }
  append(operation, signers = [this.key], more = {}) {
    return this.chain.append(operation, { signers, ...more })
  }
  publish = () => this.chain.publish(SIG, { fetch: here })
  revoke = (subject) => this.append({ type: 'revoke', subject, reason: 'retired' })
}

let id = 5000
/** An account at GitHub, with a gist that has that text; none for null. */
export async function github(login, text) {
  await wish('gist', { message: { op: 'user', login, id: (id += 1) } })
  if (text !== null) await wish('gist', { message: { op: 'gist', login, files: { 'kez.md': text } } })
}

/** A nostr account that shows a text, on the relay of this machine. */
export async function nostr(textFor) {
  const { identity, sign } = await nostrKey()
  const event = sign({ kind: 30_078, created_at: Math.floor(Date.now() / 1000), tags: [['d', 'kez']], content: await textFor(identity) })
  const relay = routes.get('nos.lol')
  const socket = new WebSocket(relay.replace('http', 'ws'))
  await new Promise((done, failed) => {
    socket.onopen = () => socket.send(JSON.stringify(['EVENT', event]))
    socket.onmessage = ({ data }) => (JSON.parse(data)[2] === true ? done() : failed(new Error(data)))
    socket.onerror = () => failed(new Error(`no relay at ${relay}`))
  })
  socket.close()
  return identity
}
