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
  const event = sign({ kind: 30_539, created_at: Math.floor(Date.now() / 1000), tags: [['d', 'kez']], content: await textFor(identity) })
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

const daysAgo = (days) => new Date(Date.now() - days * 86_400_000)

/**
 * Accounts at GitHub with which something is wrong, their logins beginning alike, and what the mark says there. The first one
 * shows `victim`'s proof of `account` as its own; `files` is what other.example has.
 */
export async function troubles(begin, victim, account, files) {
  const login = (name) => `${begin}${name}`
  await github(login('mallory'), (await victim.claim(account, { list: false })).encode('markdown'))

  const rita = new Somebody()
  await github(login('rita'), (await rita.claim(`github:${login('rita')}`)).encode('markdown'))
  await rita.revoke(`github:${login('rita')}`)
  await rita.publish()

  const eddy = new Somebody()
  const times = { createdAt: daysAgo(9), expiresAt: daysAgo(2) }
  await github(login('eddy'), (await eddy.claim(`github:${login('eddy')}`, times)).encode('markdown'))
  await eddy.publish()

  const fred = new Somebody()
  const file = `/${login('fred')}.jsonl`
  const sources = [fred.chain.urlAt(SIG), `https://other.example${file}`]
  await github(login('fred'), (await fred.claim(`github:${login('fred')}`, { sources })).encode('markdown'))
  await fred.publish()
  const other = Chain.start(fred.key.identity)
  await other.append({ type: 'add', subject: 'github:other', claim: 'ab'.repeat(32) }, { signers: [fred.key], createdAt: daysAgo(1) })
  files.set(file, other.export())

  return [
    { login: login('mallory'), text: '✕ contradicted' },
    { login: login('rita'), text: '✕ withdrawn by its owner' },
    { login: login('eddy'), text: '✕ proof expired' },
    { login: login('fred'), text: '✕ two histories' },
  ]
}
