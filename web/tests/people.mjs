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

/** Somebody with an account on every platform; the one at GitHub has that name. Gives also the pages that show them. */
export async function everywhere(login) {
  const person = new Somebody()
  const proof = async (subject, form) => (await person.claim(subject)).encode(form)
  await github(login, await proof(`github:${login}`, 'markdown'))
  await wish('bluesky', { handle: 'alice.test', value: await proof('bluesky:alice.test', 'pointer') })
  await wish('field', { value: await proof('ap:jason@social.example', 'pointer') })
  await wish('txt', { zone: 'example.com', name: '_kez.example.com', value: await proof('dns:example.com', 'compact') })
  const npub = (await nostr((subject) => proof(subject, 'compact'))).slice('nostr:'.length)
  await person.publish()
  const clients = ['njump.me/', 'nosta.me/', 'iris.to/', 'primal.net/p/', 'snort.social/', 'coracle.social/people/', 'nostrudel.ninja/u/', 'jumble.social/users/']
  const places = [
    `https://github.com/${login}`, `https://gist.github.com/${login}`, 'https://bsky.app/profile/alice.test', 'https://mastodon.social/@jason@social.example',
    ...clients.map((site) => `https://${site}${npub}`), 'https://example.com/',
  ]
  return { person, npub, places }
}
