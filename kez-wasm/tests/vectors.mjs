// Runs the test vectors through the WebAssembly build: it must answer as the native one does.
//
//     node vectors.mjs <folder of the bindings> <folder of the vectors>
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [bindings, vectors] = process.argv.slice(2).map((path) => resolve(path))
const kez = await import(pathToFileURL(join(bindings, 'kez_wasm.js')))
kez.initSync({ module: readFileSync(join(bindings, 'kez_wasm_bg.wasm')) })

const utf8 = new TextEncoder()

function history(value, now, rolledBack) {
  const chain = (bundle) => kez.Chain.replay(utf8.encode(bundle), undefined, now)
  if (value === 'absent') return kez.KnownHistory.absent()
  if (value === 'unknown') return kez.KnownHistory.unknown()
  if (Array.isArray(value)) return kez.KnownHistory.known(chain(value[0]), chain(value[1]), false)
  return kez.KnownHistory.known(chain(value), undefined, rolledBack === true)
}

function run({ kind, now, input }) {
  const seconds = Date.parse(now) / 1000
  if (kind === 'judge') {
    const known = history(input.history, seconds, input.rolled_back)
    const report = kez.judgeText(input.proof, input.subject, input.account, known, seconds)
    if (report.reason) throw Object.assign(new Error(), { code: report.reason })
    return undefined
  }
  const bytes = typeof input === 'string' ? utf8.encode(input) : Buffer.from(input.hex, 'hex')
  switch (kind) {
    case 'json':
      return kez.canonicalize(bytes, false)
    case 'canonical':
      return kez.canonicalize(bytes, true)
    case 'identity':
      return kez.canonicalIdentity(input)
    case 'input':
      return kez.parseIdentity(input)
    case 'claim':
      return kez.claimFromJson(bytes)
    case 'compact':
      return kez.claimFromCompact(input)
    case 'pointer':
      return kez.primaryFromPointer(input)
    case 'text':
      return kez.findProofs(input).map((found) => {
        if (found instanceof Error) throw found
        return `${found.encoding} ${found.claim ?? found.primary}`
      })
    case 'bundle': {
      const chain = kez.Chain.replay(bytes, undefined, seconds)
      if (chain.bundle() !== input) throw new Error('another bundle')
      return `${chain.head.seq} ${chain.head.id}`
    }
    case 'fork':
      return kez.forkIsSettled(bytes, seconds) ? 'settled' : 'open'
  }
  throw new Error(`an unknown kind: ${kind}`)
}

let passed = 0
let failed = 0
for (const name of readdirSync(vectors).filter((n) => n.endsWith('.json'))) {
  const vector = JSON.parse(readFileSync(join(vectors, name), 'utf8'))
  let got = 'ok'
  let output
  try {
    output = run(vector)
  } catch (error) {
    got = error.code ?? `a defect: ${error.stack}`
  }
  const same = vector.output === undefined || JSON.stringify(vector.output) === JSON.stringify(output)
  if (got === vector.expect && (got !== 'ok' || same)) passed += 1
  else {
    failed += 1
    console.log(`${name}: wanted ${vector.expect}, got ${got} ${JSON.stringify(output)}`)
  }
}
console.log(`wasm: ${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
