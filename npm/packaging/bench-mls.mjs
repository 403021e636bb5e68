// Conversations in one process, in one run, the candidates interleaved: medians of CPU time. `kez` is the module of
// kez/chat, which also checks the certificates of devices, writes strict JSON, and pads; `ts-mls` is MLS in JavaScript
// over Web Crypto, with its own suite of X-Wing, and with suite 1 of RFC 9420 (no post-quantum keys); `olm` is Matrix's
// group ratchet in WebAssembly, which has no changes of members.
//
//     node bench-mls.mjs [rounds]
import { readFileSync } from 'node:fs'
import Olm from '@matrix-org/olm'
import * as mls from 'ts-mls'

const rounds = Number(process.argv[2] ?? 7)
const text = 'x'.repeat(300)
const MEMBERS = 32

const folder = new URL('../../target/wasm-bench/', import.meta.url)
const kez = await import(new URL('kez_wasm.js', folder))
await kez.default({ module_or_path: readFileSync(new URL('kez_wasm_bg.wasm', folder)) })
await Olm.init()

/** A group of ts-mls, as its first two members see it: what the other candidates do, with encoding and decoding. */
async function tsMls(suite) {
  const impl = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(suite))
  const person = (name) => {
    const credential = { credentialType: 'basic', identity: new TextEncoder().encode(name) }
    return mls.generateKeyPackage(credential, mls.defaultCapabilities(), mls.defaultLifetime, [], impl)
  }
  const through = (message) => mls.decodeMlsMessage(mls.encodeMlsMessage({ version: 'mls10', ...message }), 0)[0]
  const proposal = ({ publicPackage }) => {
    const { keyPackage } = through({ wireformat: 'mls_key_package', keyPackage: publicPackage })
    return { proposalType: 'add', add: { keyPackage } }
  }
  const join = ({ publicPackage, privatePackage }, welcome) => {
    const message = through({ wireformat: 'mls_welcome', welcome })
    // The tree is in the welcome, as kez has it.
    return mls.joinGroup(message.welcome, publicPackage, privatePackage, mls.emptyPskIndex, impl)
  }
  const process = (state, privateMessage) => {
    const message = through({ wireformat: 'mls_private_message', privateMessage })
    return mls.processPrivateMessage(state, message.privateMessage, mls.emptyPskIndex, impl)
  }
  const commit = (state, extraProposals) =>
    mls.createCommit({ state, cipherSuite: impl }, { extraProposals, ratchetTreeExtension: true })

  const one = await person('0')
  const others = await Promise.all(Array.from({ length: MEMBERS - 1 }, (_, i) => person(`${i + 1}`)))
  let first = await mls.createGroup(new Uint8Array(32), one.publicPackage, one.privatePackage, [], impl)
  const made = await commit(first, others.map(proposal))
  first = made.newState
  let second = await join(others[0], made.welcome)
  const change = async (proposals) => {
    const { newState, commit: sent, welcome } = await commit(first, proposals)
    first = newState
    second = (await process(second, sent.privateMessage)).newState
    return welcome
  }
  return {
    async message() {
      const sent = await mls.createApplicationMessage(first, new TextEncoder().encode(text), impl)
      first = sent.newState
      const got = await process(second, sent.privateMessage)
      second = got.newState
      if (new TextDecoder().decode(got.message) !== text) throw new Error('another text')
    },
    renew: () => change([]),
    async add() {
      const who = await person('more')
      await join(who, await change([proposal(who)]))
    },
  }
}

function olm() {
  const outbound = new Olm.OutboundGroupSession()
  outbound.create()
  const inbound = new Olm.InboundGroupSession()
  inbound.create(outbound.session_key())
  return {
    message() {
      if (inbound.decrypt(outbound.encrypt(text)).plaintext !== text) throw new Error('another text')
    },
  }
}

const bench = new kez.Bench(MEMBERS)
const candidates = {
  kez: { message: () => bench.message(text), renew: () => bench.renew(), add: () => bench.add() },
  'ts-mls, X-Wing': await tsMls('MLS_256_XWING_AES256GCM_SHA512_Ed25519'),
  'ts-mls, suite 1': await tsMls('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'),
  olm: olm(),
}

const counts = { message: 200, renew: 10, add: 10 }
const times = {}
for (let round = 0; round <= rounds; round += 1) {
  for (const [what, count] of Object.entries(counts)) {
    for (const [name, candidate] of Object.entries(candidates)) {
      if (!candidate[what]) continue
      const start = process.cpuUsage()
      for (let i = 0; i < count; i += 1) await candidate[what]()
      const { user, system } = process.cpuUsage(start)
      // The first round warms up.
      if (round > 0) ((times[what] ??= {})[name] ??= []).push((user + system) / count)
    }
  }
}
const words = {
  message: 'encrypt and decrypt a text of 300 bytes',
  renew: `renew keys and follow, ${MEMBERS} members or more`,
  add: 'add a device, follow, join',
}
for (const [what, byName] of Object.entries(times)) {
  console.log(words[what])
  const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]
  for (const [name, list] of Object.entries(byName)) {
    const ratio = name === 'kez' ? '' : `  ${(median(list) / median(byName.kez)).toFixed(2)} times kez`
    console.log(`  ${name.padEnd(16)} ${median(list).toFixed(0).padStart(8)} us${ratio}`)
  }
}
