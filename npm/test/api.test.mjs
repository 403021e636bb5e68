// The package as its users call it. Real cryptography on both sides: WebCrypto and @noble/curves
// stand for the signers that keep their keys to themselves.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import crypto, { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { schnorr } from '@noble/curves/secp256k1.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import * as kez from 'kez'
import { Chat, initChat, memoryStorage } from 'kez/chat'
import { importFrom, initImport } from 'kez/import'

const throwsCode = (work, code, type) =>
  assert.throws(work, (error) => {
    assert.equal(error.code, code, error.message)
    assert.ok(error instanceof type && error instanceof kez.KezError && error instanceof Error, error.name)
    assert.equal(error.name, type.name)
    return true
  })
const rejectsCode = (work, code, type) =>
  assert.rejects(work, (error) => error.code === code && error instanceof type)

const CHAT = readFileSync(new URL('../dist/kez-chat.wasm', import.meta.url))
const openChat = async () => Chat.open({ device: kez.SecretKey.generate(), storage: memoryStorage() })

test('nothing works before init, and the error says what to do', async () => {
  await rejectsCode(initChat(), 'not_initialized', kez.KezNotInitializedError)
  assert.equal(kez.isReady(), false)
  throwsCode(() => kez.parseIdentity('example.com'), 'not_initialized', kez.KezNotInitializedError)
})

test('a failed init is an error of its own, and may be tried again', async () => {
  await rejectsCode(kez.init(new Uint8Array([1, 2, 3])), 'init_failed', kez.KezNotInitializedError)
  throwsCode(() => kez.initSync(new Uint8Array([1])), 'init_failed', kez.KezNotInitializedError)
  await Promise.all([kez.init(), kez.init()])
  await kez.init()
  assert.equal(kez.isReady(), true)
})

test('identities', () => {
  assert.equal(kez.parseIdentity('@Alice@Fosstodon.org'), 'ap:alice@fosstodon.org')
  assert.equal(kez.parseIdentity('https://bücher.example/'), 'dns:xn--bcher-kva.example')
  assert.equal(kez.readInput('@Alice@Fosstodon.org'), 'Alice@fosstodon.org')
  assert.equal(kez.readInput('https://github.com/Alice'), 'github:alice')
  assert.equal(kez.readInput('lemmy.example/u/alice'), 'https://lemmy.example/u/alice')
  throwsCode(() => kez.parseIdentity('lemmy.example/u/alice'), 'identity_refused', kez.KezInputError)
  assert.equal(kez.parseIdentity('faß.example'), 'dns:xn--fa-hia.example', 'non-transitional')
  assert.equal(kez.profileUrl('github:jason'), 'https://github.com/jason')
  assert.equal(kez.profileUrl(kez.SecretKey.generate().identity), undefined)
  throwsCode(() => kez.parseIdentity('a_b.example'), 'identity_refused', kez.KezInputError)
  throwsCode(() => kez.parseIdentity('dns:example.com:8080'), 'identity_refused', kez.KezInputError)
  throwsCode(() => kez.parseIdentity('%65xample.com'), 'identity_refused', kez.KezInputError)
})

test('every code of the protocol has its words', () => {
  const all = kez.codes()
  assert.ok(all.length > 80)
  for (const { code, kind, status, summary, remedy } of all) {
    assert.match(code, /^[a-z0-9_]+$/)
    assert.ok(kind && status && summary && remedy)
  }
})

test('a string is not taken for bytes, nor an array, nor anything else', () => {
  const liar = { [Symbol.toStringTag]: 'Uint8Array', length: 32 }
  const bad = [liar, 'x'.repeat(32), [...new Uint8Array(32)], new Uint8Array(31), new Uint16Array(32), null, undefined, 7]
  for (const secret of bad) {
    throwsCode(() => kez.SecretKey.fromBytes('ed25519', secret), 'argument_refused', kez.KezInputError)
  }
  for (const value of [null, undefined, 7, {}, ['kez'], new Uint8Array(3), 'a\ud800b']) {
    throwsCode(() => kez.parseIdentity(value), 'argument_refused', kez.KezInputError)
  }
  for (const now of ['2026', NaN, Infinity, 1e18, {}]) {
    throwsCode(() => kez.Chain.replay('', { now }), 'argument_refused', kez.KezInputError)
  }
  throwsCode(() => kez.Chain.replay('', { nwo: 1 }), 'argument_refused', kez.KezInputError)
  throwsCode(() => kez.canonicalize(7), 'argument_refused', kez.KezInputError)
  throwsCode(() => kez.SecretKey.generate('rsa'), 'argument_refused', kez.KezInputError)
  throwsCode(() => kez.judge('x', { subject: 'github:a', history: {} }), 'argument_refused', kez.KezInputError)
  // Bytes of another realm are bytes.
  assert.equal(kez.canonicalize(Buffer.from('[1]')), '[1]')
  assert.equal(kez.canonicalize(runInNewContext('Uint8Array.of(91, 49, 93)')), '[1]')
})

test('chat is loaded into the instance, if it is of the same build', async () => {
  await rejectsCode(openChat(), 'not_initialized', kez.KezNotInitializedError)
  await rejectsCode(initChat(new Uint8Array([1, 2, 3])), 'init_failed', kez.KezNotInitializedError)
  // The memory has a name of its own in every build.
  const other = Buffer.from(CHAT)
  const at = other.toString('latin1').search(/m[0-9a-f]{8}\x02/) + 1
  assert.ok(at > 0)
  other[at] = other[at] === 0x30 ? 0x31 : 0x30
  await rejectsCode(initChat(other), 'init_failed', kez.KezNotInitializedError)
  await rejectsCode(openChat(), 'not_initialized', kez.KezNotInitializedError)
  await Promise.all([initChat(), initChat()])
  await initChat()
  // What opens is asked for its account, of which this storage has none.
  await assert.rejects(openChat(), { code: 'state_refused' })
})

test('secrets do not show', () => {
  const key = kez.SecretKey.fromBytes('nostr', new Uint8Array(32).fill(7))
  const secret = key.exposeText()
  assert.match(secret, /^nsec1/)
  for (const shown of [`${key}`, JSON.stringify(key), JSON.stringify({ key })]) {
    assert.ok(!shown.includes(secret) && shown.includes(key.identity))
  }
  assert.equal(kez.SecretKey.fromText('nostr', secret).identity, key.identity)
  assert.deepEqual(key.exposeBytes(), new Uint8Array(32).fill(7))
  throwsCode(() => kez.parseIdentity(secret), 'secret_refused', kez.KezInputError)
})

test('a key file, and nobody without the passphrase', () => {
  const key = kez.SecretKey.generate('nostr')
  const file = key.encrypt('correct horse')
  assert.deepEqual(kez.keyFile(file), { identity: key.identity, encrypted: true })
  assert.ok(!file.includes(key.exposeText()) && !file.includes(bytesToHex(key.exposeBytes())))
  assert.deepEqual(kez.SecretKey.decrypt(file, 'correct horse').exposeBytes(), key.exposeBytes())
  throwsCode(() => kez.SecretKey.decrypt(file, 'correct hors'), 'passphrase_wrong', kez.KezStorageError)
  throwsCode(() => kez.SecretKey.decrypt(file.replace('65536', '4000000000'), 'x'), 'key_file', kez.KezStorageError)
  throwsCode(() => kez.keyFile('{}'), 'key_file', kez.KezStorageError)
})

test('what signs has an identity, and what is asked has a name', async () => {
  const key = kez.SecretKey.generate('nostr')
  assert.equal(await kez.signerIdentity(key), key.identity)
  await rejectsCode(kez.signerIdentity({}), 'argument_refused', kez.KezInputError)
  assert.ok(kez.defaultRelays().length > 1 && kez.defaultRelays().every((url) => url.startsWith('wss://')))
  const chain = kez.Chain.start(key.identity)
  assert.equal(chain.urlAt('https://sig.example/#key'), `https://sig.example/v1/sigchains/${key.identity}`)
})

test('a device joins whose key never leaves its machine', async () => {
  const [owner, device] = [kez.SecretKey.generate(), kez.SecretKey.generate()]
  const chain = kez.Chain.start(owner.identity)
  const operation = { type: 'add_device', device: device.identity, caps: ['chat/1'], name: 'other' }
  const prepared = await chain.prepare(operation, { signers: [owner] })
  assert.equal(chain.head, null, 'nothing was appended')
  await rejectsCode(chain.accept(prepared, { signers: [] }), 'chain_signer', kez.KezVerifyError)
  await rejectsCode(chain.accept(prepared, { signers: [owner] }), 'chain_signer', kez.KezVerifyError)
  await rejectsCode(chain.accept('{}', { signers: [device] }), 'member_missing', kez.KezFormatError)
  assert.equal((await chain.accept(prepared, { signers: [device] })).seq, 1)
  assert.equal(chain.summary().devices[0].key, device.identity)
  await rejectsCode(chain.publish('http://127.0.0.1:1'), 'connect_failed', kez.KezChannelError)
})

test('what people have said elsewhere is read, by name and by file', async () => {
  await rejectsCode(importFrom('nip39', 'npub1'), 'not_initialized', kez.KezNotInitializedError)
  await initImport()
  const proof = { proof_type: 'github', nametag: 'Alice', state: 1, proof_url: 'https://gist.github.com/Alice/1' }
  const them = [{ basics: { username: 'alice' }, proofs_summary: { all: [proof, { proof_type: 'dns', nametag: 'Bücher.example' }] } }]
  const file = utf8ToBytes(JSON.stringify({ them }))
  const gist = { owner: { login: 'Alice' }, files: { 'keybase.md': { content: 'I am https://keybase.io/alice' } } }
  const fetch = async ({ url }) => (url.includes('/gists/1') ? Response.json(gist) : new Response('', { status: 503 }))
  const { links, ...of } = await importFrom('keybase', file, { fetch })
  assert.deepEqual(of, { schema: 'kez.foreign/1', source: 'keybase', subject: 'alice', name: null, detail: null })
  assert.deepEqual(
    links.map(({ text, identity, said, back, grade }) => [text, identity, said, back, grade]),
    [
      ['github:Alice', 'github:alice', 'reported', 'shown', 'reported'],
      ['dns:Bücher.example', 'dns:xn--bcher-kva.example', 'reported', 'unknown', 'reported'],
    ],
  )
  await rejectsCode(importFrom('keybase', 'alice', { fetch }), 'usage', kez.KezInputError)
  await rejectsCode(importFrom('nip39', 'dns:example.com', { fetch }), 'key_expected', kez.KezInputError)
  await rejectsCode(importFrom('keyoxide', file, { fetch }), 'key_refused', kez.KezVerifyError)
  await rejectsCode(importFrom('myspace', 'tom'), 'argument_refused', kez.KezInputError)
  await rejectsCode(importFrom('keybase', 5), 'argument_refused', kez.KezInputError)
  const key = kez.SecretKey.generate('nostr')
  await rejectsCode(kez.publishIdentities(key, [{ account: 'dns:example.com', token: 'x' }]), 'argument_refused', kez.KezInputError)
  await rejectsCode(kez.publishIdentities(key, 'github:alice'), 'argument_refused', kez.KezInputError)
  await rejectsCode(kez.publishIdentities('nsec', []), 'argument_refused', kez.KezInputError)
})

test('a claim in every form, by a key at hand', async () => {
  for (const kind of ['ed25519', 'nostr']) {
    const key = kez.SecretKey.generate(kind)
    const expiresAt = new Date(Date.now() + 1e6)
    const claim = await kez.Claim.create({ subject: 'dns:example.com', signer: key, account: 'x', expiresAt })
    assert.equal(claim.primary, key.identity)
    assert.equal(claim.members.account, 'x')
    assert.equal(Date.parse(claim.members.expires_at), Math.floor(expiresAt / 1000) * 1000)
    for (const form of ['json', 'compact', 'markdown']) {
      assert.equal(kez.Claim.parse(claim.encode(form)).id, claim.id, form)
    }
    assert.match(claim.encode('dns'), /^_kez\.example\.com\. .* TXT "kez:z1:/)
    assert.equal(kez.parsePointer(claim.encode('pointer')), key.identity)
    assert.equal(kez.findProofs(claim.encode('markdown'))[0].claim, claim.id)
    throwsCode(() => claim.encode('xml'), 'argument_refused', kez.KezInputError)
    const forged = claim.encode('json').replace('example.com', 'example.net')
    throwsCode(() => kez.Claim.fromJson(forged), 'signature_bad', kez.KezVerifyError)
    const [found] = kez.findProofs('kez:z1:AAAA')
    assert.ok(found.error instanceof kez.KezFormatError)
  }
  const wrong = { subject: 'Example.com', signer: kez.SecretKey.generate() }
  await rejectsCode(kez.Claim.create(wrong), 'identity_refused', kez.KezInputError)
})

test('a key of WebCrypto signs, and never leaves it', async () => {
  const { privateKey, publicKey } = await webcrypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])
  const raw = new Uint8Array(await webcrypto.subtle.exportKey('raw', publicKey))
  const signer = {
    identity: `ed25519:${bytesToHex(raw)}`,
    sign: async (digest) => new Uint8Array(await webcrypto.subtle.sign('Ed25519', privateKey, digest)),
  }
  const claim = await kez.Claim.create({ subject: 'github:jason', signer })
  assert.equal(claim.primary, signer.identity)
  const chain = kez.Chain.start(signer.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [signer] })
  assert.equal(chain.head.seq, 1)
})

test('a signer that fails, lies or declines is an error, and the chain stays as it was', async () => {
  const { identity } = kez.SecretKey.generate()
  const make = (sign) => kez.Claim.create({ subject: 'github:jason', signer: { identity, sign } })
  await rejectsCode(make(() => Promise.reject(new Error('no'))), 'signer_failed', kez.KezStorageError)
  await rejectsCode(make(() => new Uint8Array(63)), 'argument_refused', kez.KezInputError)
  await rejectsCode(make(() => 'x'.repeat(64)), 'argument_refused', kez.KezInputError)
  await rejectsCode(make(() => new Uint8Array(64)), 'signature_bad', kez.KezVerifyError)
  const chain = kez.Chain.start(identity)
  const operation = { type: 'add', subject: 'github:jason', claim: 'ab'.repeat(32) }
  const signers = [{ identity, sign: () => new Uint8Array(64) }]
  await rejectsCode(chain.append(operation, { signers }), 'signature_bad', kez.KezVerifyError)
  assert.equal(chain.head, null)
  await rejectsCode(chain.append({ ...operation, extra: 1 }, { signers }), 'member_unknown', kez.KezFormatError)
  await rejectsCode(chain.append({ type: 'fly' }, { signers }), 'op_unknown', kez.KezVerifyError)
})

test('a NIP-07 provider signs with the suite nostr-event', async () => {
  const secret = new Uint8Array(32).fill(9)
  const pubkey = bytesToHex(schnorr.getPublicKey(secret))
  // What an extension does with an event, by @noble/curves.
  const provider = {
    getPublicKey: async () => pubkey,
    async signEvent(event) {
      const { created_at, kind, tags, content } = event
      const id = sha256(utf8ToBytes(JSON.stringify([0, pubkey, created_at, kind, tags, content])))
      return { ...event, id: bytesToHex(id), pubkey, sig: bytesToHex(schnorr.sign(id, secret)) }
    },
  }
  const claim = await kez.Claim.create({ subject: 'github:jason', signer: provider })
  assert.equal(JSON.parse(claim.encode('json')).sigs[0].suite, 'nostr-event')
  assert.equal(claim.primary, kez.SecretKey.fromBytes('nostr', secret).identity)
  const other = { ...provider, signEvent: async () => ({ sig: '00' }) }
  await rejectsCode(kez.Claim.create({ subject: 'github:jason', signer: other }), 'response_refused', kez.KezChannelError)
})

test('a chain through its life: pre-rotation, devices, revocation, export and replay', async () => {
  const other = kez.SecretKey.generate('nostr')
  const [owner, next, device] = [kez.SecretKey.generate('nostr'), kez.SecretKey.generate('nostr'), kez.SecretKey.generate()]
  const chain = kez.Chain.start(owner.identity)
  const claim = await kez.Claim.create({ subject: 'github:jason', signer: owner, chain })
  const commitment = kez.commitment(next.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [owner], next: commitment })
  await chain.append(
    { type: 'add_device', device: device.identity, caps: ['chat/1'] },
    { signers: [owner, device] },
  )
  const later = await kez.Claim.create({ subject: 'dns:example.com', signer: owner, chain })
  assert.deepEqual(later.members.head, chain.head)
  const now = Date.now()
  const judged = () => kez.judge(claim.encode('compact'), { subject: claim.subject, history: chain, now }).status
  assert.equal(judged(), 'valid')
  await chain.append({ type: 'revoke', claim: claim.id, reason: 'retired' }, { signers: [owner] })
  assert.equal(judged(), 'revoked')
  await rejectsCode(
    chain.append({ type: 'rotate', to: other.identity, reason: 'superseded' }, { signers: [other] }),
    'next_mismatch',
    kez.KezVerifyError,
  )
  await chain.append({ type: 'rotate', to: next.identity, reason: 'superseded' }, { signers: [next] })
  await chain.append({ type: 'revoke_device', device: device.identity, reason: 'retired' }, { signers: [next] })
  assert.equal(chain.currentKey, next.identity)
  const bundle = chain.export()
  const again = kez.Chain.replay(bundle, { primary: owner.identity })
  assert.equal(again.export(), bundle)
  assert.deepEqual(again.summary(), chain.summary())
  assert.deepEqual(again.summary().events.map((event) => event.op), ['add', 'add_device', 'revoke', 'rotate', 'revoke_device'])
  throwsCode(() => kez.Chain.replay(bundle, { primary: next.identity }), 'chain_id', kez.KezVerifyError)
  // Two histories are a fork, and a rollback is told from the outside.
  const shorter = kez.Chain.replay(bundle.split('\n').slice(0, 1).join('\n') + '\n')
  await shorter.append({ type: 'add', subject: 'dns:b.example', claim: 'cd'.repeat(32) }, { signers: [owner] })
  const forked = kez.judge(claim.encode('compact'), { subject: claim.subject, history: [chain, shorter], now })
  assert.equal(forked.status, 'revoked', 'settled by the committed key')
})

test('memory: free, using, and use after free', () => {
  const key = kez.SecretKey.generate()
  key.free()
  key.free()
  throwsCode(() => key.exposeText(), 'use_after_free', kez.KezUsageError)
  const chain = kez.Chain.start(kez.SecretKey.generate().identity)
  chain[Symbol.dispose]?.() ?? chain.free()
  throwsCode(() => chain.export(), 'use_after_free', kez.KezUsageError)
})

/** A `fetch` that answers from a table; it says "emulator" where a test reads it. */
const offline = { fetch: async () => Promise.reject(new TypeError('fetch failed')) }

test('what cannot be fetched is unreachable, never a missing proof', async () => {
  const events = []
  const [report] = await kez.verify('github:jason', { ...offline, onProgress: (event) => events.push(event) })
  assert.equal(report.status, 'unreachable')
  assert.equal(report.reason, 'connect_failed')
  assert.deepEqual([...new Set(events.map((event) => event.type))], ['asking', 'answered', 'judged'])
})

test('what a listener throws is reported as uncaught, and does not stop the verification', () => {
  // In a process of its own, since the test runner takes what is uncaught for a failure.
  const script = `import { init, verify } from 'kez'
process.on('uncaughtException', (error) => console.log(error.message))
await init()
const onProgress = ({ type }) => { if (type === 'asking') throw new Error('mine') }
const [report] = await verify('github:jason', { fetch: () => Promise.reject(new TypeError('no')), onProgress })
console.log(report.reason)
`
  const words = ['--input-type=module', '-e', script]
  const folder = new URL('..', import.meta.url)
  const lines = execFileSync(process.execPath, words, { cwd: folder, encoding: 'utf8' }).trim().split('\n')
  assert.equal(lines.filter((line) => line === 'mine').length, lines.length - 1)
  assert.ok(lines.length > 1 && lines.includes('connect_failed'), lines.join())
})

test('requests carry no header that preflights, no cookies and no referrer', async () => {
  const seen = []
  const fetch = async (request) => {
    seen.push(request)
    return new Response('{}', { status: 404 })
  }
  const [report] = await kez.verify('github:jason', { fetch })
  assert.equal(report.status, 'invalid')
  assert.equal(report.reason, 'identity_not_found')
  await kez.verify('dns:example.com', { fetch })
  assert.ok(seen.some((request) => request.url.includes('?dns=')), 'DNS over HTTPS by GET')
  for (const request of seen) {
    assert.equal(request.method, 'GET')
    assert.deepEqual([...request.headers.keys()].filter((name) => name !== 'accept'), [])
    assert.ok(!/["():<>?@[\\\]{}]/.test(request.headers.get('accept') ?? ''), request.headers.get('accept'))
    assert.equal(request.credentials, 'omit')
    assert.equal(request.referrerPolicy, 'no-referrer')
  }
})

test('bodies are bounded, and a plain http endpoint is refused', async () => {
  const endless = () =>
    new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65536)) })
  const [report] = await kez.verify('github:jason', { fetch: async () => new Response(endless()) })
  assert.equal(report.reason, 'body_too_large')
  const [plain] = await kez.verify('github:jason', { github: 'http://127.0.0.1:1' })
  assert.equal(plain.reason, 'address_refused')
})

test('an AbortSignal ends everything with its own reason', async () => {
  const signal = AbortSignal.abort(new Error('enough'))
  await assert.rejects(kez.verify('github:jason', { signal }), /enough/)
  const controller = new AbortController()
  const fetch = (request) =>
    new Promise((_, reject) => {
      request.signal.addEventListener('abort', () => reject(request.signal.reason))
      controller.abort(new Error('now'))
    })
  await assert.rejects(kez.verify('github:jason', { fetch, signal: controller.signal }), /now/)
  await assert.rejects(kez.verify('github:jason', { signal: 7 }), { code: 'argument_refused' })
})

test('the clock and the memory are the caller\'s', async () => {
  const owner = kez.SecretKey.generate('nostr')
  const at = Date.parse('2026-01-01T00:00:00Z')
  const claim = await kez.Claim.create({ subject: 'dns:example.com', signer: owner, createdAt: at })
  const chain = kez.Chain.start(owner.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [owner], createdAt: at })
  const memory = new Map()
  const options = { ...offline, WebSocket: class { constructor() { throw new Error('none') } }, memory, clock: () => at + 5000 }
  const [report, ...more] = await kez.verifyProof(claim.encode('compact'), { ...options, bundles: [chain.export()] })
  assert.deepEqual([report.status, report.checked_at, more], ['valid', '2026-01-01T00:00:05Z', []])
  assert.equal(memory.get(owner.identity), chain.export())
  const graph = await kez.identity(owner.identity, options)
  assert.equal(graph.head.id, chain.head.id, 'remembered')
  // Accounts beyond the limit are not asked for.
  const unchecked = await kez.identity(owner.identity, { ...options, limit: 0 })
  assert.deepEqual(unchecked.edges.map(({ subject, reason }) => [subject, reason]), [['dns:example.com', 'search_incomplete']])
  await rejectsCode(kez.identity(owner.identity, { ...options, limit: -1 }), 'argument_refused', kez.KezInputError)
})

/** EMULATED: GitHub's API, with one account that shows these texts. */
function githubWith(login, texts) {
  const owner = { login, id: 42 }
  const id = (n) => String(n).padStart(20, '0')
  const gist = (n) => ({ id: id(n), owner, public: true, files: { 'kez.md': { content: texts[n], truncated: false } } })
  return async ({ url }) => {
    const { pathname } = new URL(url)
    const n = texts.findIndex((_, n) => pathname === `/gists/${id(n)}`)
    if (n >= 0) return Response.json(gist(n))
    return pathname === `/users/${login}/gists` ? Response.json(texts.map((_, n) => gist(n))) : new Response('', { status: 404 })
  }
}

const claimBy = async (signer, subject = 'github:jason') => (await kez.Claim.create({ subject, signer, account: '42' })).encode('compact')

test('an account that two owners prove is contested, and may be verified for one of them', async () => {
  const [one, two, three] = [kez.SecretKey.generate(), kez.SecretKey.generate(), kez.SecretKey.generate()]
  const owners = [one.identity, two.identity].sort()
  const options = { fetch: githubWith('jason', [await claimBy(one), await claimBy(two)]), relays: [] }
  const reports = await kez.verify('github:jason', options)
  assert.deepEqual(reports.map(({ primary }) => primary).sort(), owners)
  for (const { status, notes } of reports) {
    assert.equal(status, 'valid')
    assert.deepEqual(notes, ['history_unchecked', 'contested'])
  }
  const graph = await kez.identity('https://github.com/Jason', options)
  assert.equal(graph.chain, 'unchecked')
  assert.deepEqual([graph.primary, ...graph.contested_by].sort(), owners)
  const alone = await kez.verify('github:jason', { ...options, by: two.identity })
  assert.deepEqual(alone.map(({ primary, notes }) => [primary, notes]), [[two.identity, ['history_unchecked']]])
  const whole = await kez.identity('github:jason', { ...options, by: one.identity })
  assert.deepEqual([whole.primary, whole.contested_by], [one.identity, []])
  const [none] = await kez.verify('github:jason', { ...options, by: three.identity })
  assert.deepEqual([none.reason, none.primary], ['proof_not_found', null])
  await rejectsCode(kez.verify('github:jason', { ...options, by: 'github:jason' }), 'key_expected', kez.KezInputError)
  await rejectsCode(kez.verify('github:jason', { ...options, by: 7 }), 'argument_refused', kez.KezInputError)
})

test('a proof of another name of the same account is said to be one', async () => {
  const owner = kez.SecretKey.generate()
  const fetch = githubWith('jason', [await claimBy(owner, 'github:jay')])
  const [report] = await kez.verify('github:jason', { fetch, relays: [] })
  assert.deepEqual([report.status, report.claimed_as, report.notes.includes('renamed')], ['valid', 'github:jay', true])
})

test('a text with several proofs has a report for each', async () => {
  const [one, two] = [kez.SecretKey.generate(), kez.SecretKey.generate()]
  const text = `${await claimBy(one)}\n${await claimBy(two)}\n${await claimBy(two, 'github:jay')}\n`
  const options = { ...offline, relays: [] }
  const all = await kez.verifyProof(text, options)
  const told = (reports) => reports.map(({ subject, primary, status }) => [subject, primary, status].join(' ')).sort()
  const wanted = [['github:jason', one], ['github:jason', two], ['github:jay', two]]
  assert.deepEqual(told(all), wanted.map(([subject, key]) => `${subject} ${key.identity} valid`).sort())
  const as = await kez.verifyProof(text, { ...options, subject: 'github:jay' })
  assert.deepEqual(told(as), [`github:jay ${one.identity} invalid`, `github:jay ${two.identity} valid`].sort())
  await rejectsCode(kez.verifyProof('nothing here', options), 'proof_not_found', kez.KezVerifyError)
})

test('what the caller knows of a history is a chain or one of three words', async () => {
  const owner = kez.SecretKey.generate()
  const text = await claimBy(owner)
  const judged = (history) => {
    const { status, reason, notes } = kez.judge(text, { subject: 'github:jason', history })
    return [status, reason, notes]
  }
  assert.deepEqual(judged('absent'), ['valid', null, ['no_chain']])
  assert.deepEqual(judged('unchecked'), ['valid', null, ['history_unchecked']])
  assert.deepEqual(judged('unknown').slice(0, 2), ['unreachable', 'chain_unreachable'])
  throwsCode(() => judged('unheard of'), 'argument_refused', kez.KezInputError)
})

/** A sigchain server's log of one entry, made with Node's own cryptography (C2SP's formats). */
function logOf(entry, seed = 1) {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)])
  const key = crypto.createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  const raw = crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32)
  const sha256 = (...parts) => crypto.createHash('sha256').update(Buffer.concat(parts)).digest()
  const name = 'sig.example/log'
  const typed = Buffer.concat([Buffer.from([1]), raw])
  const id = sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4)
  const root = sha256(Buffer.from([0]), Buffer.from(entry))
  const text = `${name}\n1\n${root.toString('base64')}\n`
  const signature = crypto.sign(null, Buffer.from(text), key)
  const note = `${text}\n\u2014 ${name} ${Buffer.concat([id, signature]).toString('base64')}\n`
  const vkey = `${name}+${id.toString('hex')}+${typed.toString('base64')}`
  const line = { checkpoint: note, consistency: [], inclusion: [], index: 0, key: vkey }
  return { vkey, line: `${JSON.stringify(line)}\n` }
}

test('a sigchain server proves by its log what it says', async () => {
  const owner = kez.SecretKey.generate('ed25519')
  const claim = await kez.Claim.create({ subject: 'dns:example.com', signer: owner })
  const chain = kez.Chain.start(owner.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [owner] })
  const entry = (id) => JSON.stringify({ chain: owner.identity, id, seq: 1 })
  const good = logOf(entry(chain.head.id))
  let proof = good.line
  const asked = []
  const fetch = async ({ url }) => {
    asked.push(url)
    return url.startsWith('https://sig.example/v1/sigchains/')
      ? new Response(chain.export() + proof)
      : new Response('', { status: 404 })
  }
  const sigServers = ['https://sig.example']
  const memory = new Map()
  const look = async (more) => {
    const graph = await kez.identity(owner.identity, { fetch, sigServers, memory, relays: [], ...more })
    return [graph.chain, graph.reason]
  }
  assert.deepEqual(await look(), ['known', null])
  assert.match(memory.get('log:https://sig.example'), /^sig\.example\/log\+/)
  assert.deepEqual(await look(), ['known', null])
  assert.deepEqual(asked.filter((url) => url.includes('?log=')).map((url) => url.split('=')[1]), ['0', '1'])
  // Another log under the same key; another key; no proof; a proof of something else.
  const other = logOf(entry('0'.repeat(64)))
  proof = other.line
  assert.deepEqual(await look(), ['known', 'log_refused'])
  proof = logOf(entry(chain.head.id), 2).line
  assert.deepEqual(await look(), ['known', 'log_refused'])
  proof = ''
  assert.deepEqual(await look(), ['known', 'log_refused'])
  proof = good.line
  memory.set('log:https://sig.example', `${good.vkey}\n\n${JSON.parse(other.line).checkpoint}`)
  assert.deepEqual(await look(), ['known', 'log_inconsistent'])
  memory.clear()
  await assert.rejects(look({ witnesses: [good.vkey] }), { code: 'log_refused' }, 'a log is no witness')
  assert.deepEqual(await look({ sigServers: [`https://sig.example#${good.vkey}`] }), ['known', null])
  memory.clear()
  assert.deepEqual(await look({ sigServers: [`https://sig.example#${logOf('', 3).vkey}`] }), ['known', 'log_refused'])
  await assert.rejects(look({ sigServers: ['https://sig.example#key'] }), { code: 'log_refused' })
})

after(async () => {
  // Last, since it breaks the instance: more memory than there is aborts inside the module.
  throwsCode(() => kez.canonicalize(new Uint8Array(2 ** 32 - 2 ** 16)), 'internal_panic', kez.KezInternalError)
  throwsCode(() => kez.parseIdentity('example.com'), 'internal_panic', kez.KezInternalError)
  assert.equal(kez.isReady(), false)
  await rejectsCode(openChat(), 'internal_panic', kez.KezInternalError)
  await rejectsCode(initChat(), 'internal_panic', kez.KezInternalError)
  await kez.init(readFileSync(new URL('../dist/kez.wasm', import.meta.url)))
  assert.equal(kez.parseIdentity('example.com'), 'dns:example.com')
  await rejectsCode(openChat(), 'not_initialized', kez.KezNotInitializedError)
  await initChat()
  await assert.rejects(openChat(), { code: 'state_refused' })
})
