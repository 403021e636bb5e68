// Verification beside what JavaScript offers otherwise, in one run, the candidates interleaved: medians of
// CPU time. `noble` is @noble/curves, @noble/hashes, canonicalize and fzstd; `noble/ed25519` the same with
// that package, which has one curve only; `fast` is the fastest that can
// be had: tiny-secp256k1 (the C library libsecp256k1 in WebAssembly) or libsodium-wrappers, and Node's own SHA-256 and zstd. The peers get the public key
// decoded, and do less: no strict JSON, no rules of the chain but its links.
//
//     node bench.mjs [rounds]
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { zstdDecompressSync } from 'node:zlib'
import { ed25519 } from '@noble/curves/ed25519.js'
import { schnorr } from '@noble/curves/secp256k1.js'
import * as small from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import canonicalize from 'canonicalize'
import { decompress } from 'fzstd'
import sodium from 'libsodium-wrappers'
import { buildSync } from 'esbuild'
import { fileURLToPath } from 'node:url'
import * as tiny from 'tiny-secp256k1'
import { inChromium } from './browsers.mjs'
import { serve } from './server.mjs'
import * as kez from '../dist/node.js'

const rounds = Number(process.argv[2] ?? 7)
await Promise.all([kez.init(), sodium.ready])

const prefix = (type) => utf8ToBytes(`KEZ1\0${type}\0`)
const join = (a, b) => {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}
const peers = {
  noble: {
    unpack: (compact) => decompress(Buffer.from(compact.slice(7), 'base64url')),
    digest: (type, text) => sha256(join(prefix(type), utf8ToBytes(text))),
    nostr: (sig, id, key) => schnorr.verify(sig, id, key),
    ed25519: (sig, id, key) => ed25519.verify(sig, id, key, { zip215: false }),
  },
  fast: {
    unpack: (compact) => zstdDecompressSync(Buffer.from(compact.slice(7), 'base64url')),
    digest: (type, text) => createHash('sha256').update(prefix(type)).update(text).digest(),
    nostr: (sig, id, key) => tiny.verifySchnorr(id, key, sig),
    ed25519: (sig, id, key) => sodium.crypto_sign_verify_detached(sig, id, key),
  },
}
small.hashes.sha512 = sha512
peers['noble/ed25519'] = { ...peers.noble, ed25519: (sig, id, key) => small.verify(sig, id, key, { zip215: false }) }
delete peers['noble/ed25519'].nostr
const text = new TextDecoder()

/** Verifies one signed object as a peer would; gives its payload and id. */
function open(peer, kind, key, json) {
  const { payload, sigs } = JSON.parse(json)
  const id = peer.digest(payload.type, canonicalize(payload))
  if (!peer[kind](hexToBytes(sigs[0].sig), id, key)) throw new Error('a bad signature')
  return { payload, id }
}

function measure(work) {
  const start = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(start)
  return user + system
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]

const COUNT = 100
const EVENTS = 1000
const names = ['kez', ...Object.keys(peers)]
console.log(`| µs, and how many times kez's | ${names.join(' | ')} |\n|${'---|'.repeat(names.length + 1)}`)
for (const kind of ['nostr', 'ed25519']) {
  const secret = new Uint8Array(32).fill(7)
  const signer = kez.SecretKey.fromBytes(kind, secret)
  const key = kind === 'nostr' ? schnorr.getPublicKey(secret) : ed25519.getPublicKey(secret)
  const claims = []
  for (let n = 0; n < COUNT; n += 1) {
    claims.push((await kez.Claim.create({ subject: `github:user${n}`, signer })).encode('compact'))
  }
  const chain = kez.Chain.start(signer.identity)
  for (let n = 0; n < EVENTS; n += 1) {
    const claim = n.toString(16).padStart(64, '0')
    await chain.append({ type: 'add', subject: `github:user${n}`, claim }, { signers: [signer] })
  }
  const bundle = chain.export()
  const replay = (peer) => {
    let prev = null
    for (const line of bundle.trimEnd().split('\n')) {
      const { payload, id } = open(peer, kind, key, line)
      if (payload.prev !== prev) throw new Error('a broken link')
      prev = Buffer.from(id).toString('hex')
    }
  }
  const subject = (n) => `github:user${n}`
  const able = Object.entries(peers).filter(([, peer]) => peer[kind])
  const beside = (work) => Object.fromEntries(able.map(([name, peer]) => [name, () => work(peer)]))
  const tasks = {
    [`a claim, compact text to verdict, ${kind}`]: {
      count: COUNT,
      kez: () => claims.forEach((c, n) => {
        if (kez.judge(c, { subject: subject(n), history: 'absent' }).status !== 'valid') throw new Error('not valid')
      }),
      ...beside((peer) => claims.forEach((c) => open(peer, kind, key, text.decode(peer.unpack(c))))),
    },
    [`an event of a chain of ${EVENTS}, ${kind}`]: {
      count: EVENTS,
      kez: () => kez.Chain.replay(bundle).free(),
      ...beside(replay),
    },
  }
  for (const [what, { count, ...candidates }] of Object.entries(tasks)) {
    const times = Object.fromEntries(Object.keys(candidates).map((name) => [name, []]))
    for (const work of Object.values(candidates)) work()
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, work] of Object.entries(candidates)) times[name].push(measure(work) / count)
    }
    const own = median(times.kez)
    const cell = (name) => {
      if (!times[name]) return '–'
      const time = median(times[name])
      return name === 'kez' ? time.toFixed(0) : `${time.toFixed(0)} (${(time / own).toFixed(1)}x)`
    }
    console.log(`| ${what} | ${names.map(cell).join(' | ')} |`)
  }
}

// A fresh process each: from its start to the first verified claim.
const claim = (await kez.Claim.create({ subject: 'github:jason', signer: kez.SecretKey.generate('nostr') })).encode('json')
const cold = (script) => {
  const runs = Array.from({ length: 11 }, () =>
    Number(execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: import.meta.dirname, encoding: 'utf8' })))
  return median(runs).toFixed(1)
}
const own = `const start = performance.now()
const kez = await import('../dist/node.js')
await kez.init()
kez.Claim.fromJson(${JSON.stringify(claim)})
console.log(performance.now() - start)`
const noble = `const start = performance.now()
const [{ schnorr }, { sha256 }, { default: canonicalize }] = await Promise.all(
  [import('@noble/curves/secp256k1.js'), import('@noble/hashes/sha2.js'), import('canonicalize')])
const { payload, sigs } = JSON.parse(${JSON.stringify(claim)})
const id = sha256(new TextEncoder().encode('KEZ1\\0claim\\0' + canonicalize(payload)))
schnorr.verify(Buffer.from(sigs[0].sig, 'hex'), id, schnorr.getPublicKey(new Uint8Array(32).fill(1)))
console.log(performance.now() - start)`

// The same in fresh Chromiums: the script is loaded, then the time is taken until the claim is verified.
const dist = fileURLToPath(new URL('../dist', import.meta.url))
const bundle = (contents) => buildSync({
  stdin: { resolveDir: import.meta.dirname, contents }, bundle: true, minify: true, format: 'esm', write: false,
}).outputFiles[0].contents
const bundled = bundle(`import { schnorr } from '@noble/curves/secp256k1.js'
import * as small from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import canonicalize from 'canonicalize'
export { schnorr, sha256, canonicalize }`)
const timed = (work) => `const start = performance.now()
;(async () => { ${work} })().then(() => { document.title = JSON.stringify(performance.now() - start) })`
const html = (script) => `<!doctype html><script type="module" src="${script}"></script>`
const server = await serve({ kez: dist }, {
  '/kez.html': html('/kez.js'),
  '/noble.html': html('/noble.js'),
  '/bundled.js': bundled,
  '/kez/bundled.js': bundle(`export * from '../dist/verify.js'`),
  '/kez.js': timed(`const kez = await import('/kez/bundled.js')
await kez.init()
kez.Claim.fromJson(${JSON.stringify(claim)})`),
  '/noble.js': timed(`const { schnorr, sha256, canonicalize } = await import('/bundled.js')
const { payload, sigs } = JSON.parse(${JSON.stringify(claim)})
const id = sha256(new TextEncoder().encode('KEZ1\\0claim\\0' + canonicalize(payload)))
schnorr.verify(Uint8Array.from(sigs[0].sig.match(/../g), (byte) => parseInt(byte, 16)), id, schnorr.getPublicKey(new Uint8Array(32).fill(1)))`),
})
const opened = { kez: [], noble: [] }
for (let round = 0; round < 7; round += 1) {
  for (const name of ['kez', 'noble']) opened[name].push(await inChromium(`${server.url}/${name}.html`))
}
server.close()
const [inPage, noblePage] = ['kez', 'noble'].map((name) => median(opened[name]).toFixed(1))
console.log(`\ncold start to the first claim, in Node: kez ${cold(own)} ms, noble ${cold(noble)} ms`)
console.log(`in Chromium, with kez/verify: kez ${inPage} ms, noble ${noblePage} ms (${bundled.length} bytes)`)
