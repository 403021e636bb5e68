// Installs the packed tarball as users do, and runs it wherever they do. KEZ_TARBALL names it.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { countOf } from '../test/vectors.mjs'
import { inChromium, inExtension, inFirefox } from './browsers.mjs'
import { serve } from './server.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const tools = join(here, 'node_modules')
const bin = (name) => join(tools, '.bin', name)
const node20 = join(tools, 'node20/bin/node')
const { KEZ_TARBALL: tarball } = process.env
const app = mkdtempSync(join(tmpdir(), 'kez-app-'))
const kez = join(app, 'node_modules/kez')

const write = (name, text) => {
  mkdirSync(join(app, name, '..'), { recursive: true })
  writeFileSync(join(app, name), text)
}
const run = (program, args, options = {}) => {
  try {
    return execFileSync(program, args, { cwd: app, encoding: 'utf8', timeout: 120_000, stdio: 'pipe', ...options })
  } catch (error) {
    throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`, { cause: error })
  }
}
const DONE = 'signed and verified'
const page = (script) => `<!doctype html><meta charset="utf-8"><script type="module" src="${script}"></script>`
const main = (entry) =>
  `import * as kez from '${entry}'\nimport { smoke } from './smoke.mjs'\nsmoke(kez).then(console.log)\n`
const titled = (entry, work = 'smoke(kez)', imports = "import { smoke } from './smoke.mjs'") =>
  `import * as kez from '${entry}'\n${imports}\n` +
  `${work}.then((r) => r, (e) => e.stack ?? String(e)).then((r) => { document.title = JSON.stringify(r) })\n`

before(() => {
  write('package.json', JSON.stringify({ name: 'app', private: true, type: 'module' }))
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--omit=optional', tarball])
  cpSync(join(here, 'smoke.mjs'), join(app, 'smoke.mjs'))
  write('main.mjs', main('kez'))
  write('inline.mjs', main('kez/inline'))
  write('slim.mjs', `import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as slim from 'kez/slim'
import { smoke } from './smoke.mjs'
const file = createRequire(import.meta.url).resolve('kez/kez.wasm')
smoke({ ...slim, init: async () => slim.initSync(readFileSync(file)) }).then(console.log)
`)
  write('require.cjs', `const kez = require('kez')
const { KezError } = require('kez/errors')
import('./smoke.mjs').then(({ smoke }) => smoke(kez)).then((done) => {
  try { kez.parseIdentity('nonsense') } catch (e) { if (e instanceof KezError) console.log(done) }
})
`)
})

for (const [name, node] of [['Node 22', process.execPath], ['Node 20', node20]]) {
  for (const file of ['main.mjs', 'inline.mjs', 'slim.mjs', 'require.cjs']) {
    test(`${name}: ${file}`, () => {
      const output = run(node, ['--no-warnings', file], { env: { ...process.env, NODE_OPTIONS: '' } })
      assert.equal(output.trim(), DONE)
    })
  }
}

test('nothing happens at import: no file is read, nothing is global', () => {
  write('pure.mjs', `import fs from 'node:fs'
const before = Object.keys(globalThis).length
const read = []
for (const [object, name] of [[fs, 'readFileSync'], [fs, 'readFile'], [fs, 'openSync'], [fs.promises, 'readFile']]) {
  const real = object[name]
  object[name] = (path, ...rest) => { if (String(path).endsWith('.wasm')) read.push(path); return real.call(object, path, ...rest) }
}
const { init } = await import('kez')
await import('kez/inline')
const quiet = read.length
await init()
console.log(Object.keys(globalThis).length - before, quiet, read.length)
`)
  assert.equal(run(process.execPath, ['pure.mjs']).trim(), '0 0 1')
})

test('Deno', () => {
  const deno = join(tools, '@deno/linux-x64-glibc/deno')
  execFileSync('chmod', ['+x', deno])
  const output = run(deno, ['run', '--allow-read', '--no-lock', 'main.mjs'], { env: { ...process.env, DENO_NO_UPDATE_CHECK: '1' } })
  assert.equal(output.trim(), DONE)
})

test('Bun', () => {
  const bun = join(tools, '@oven/bun-linux-x64/bin/bun')
  execFileSync('chmod', ['+x', bun])
  assert.equal(run(bun, ['run', 'main.mjs']).trim(), DONE)
})

test('esbuild, as a module and as an immediately invoked function', () => {
  for (const format of ['esm', 'iife']) {
    run(bin('esbuild'), ['inline.mjs', '--bundle', `--format=${format}`, '--platform=browser', `--outfile=out/${format}.mjs`])
    assert.equal(run(process.execPath, [`out/${format}.mjs`]).trim(), DONE)
  }
})

test('kez/verify, bundled by Vite: it verifies, refuses a forgery, and says that it does not sign', async () => {
  const kez = await import('../dist/node.js')
  await kez.init()
  const key = kez.SecretKey.generate('ed25519')
  const claim = await kez.Claim.create({ subject: 'dns:example.com', signer: key })
  const chain = kez.Chain.start(key.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [key] })
  const bundle = chain.export()
  write('verify/main.mjs', `${titled('kez/verify', 'work()', '')}
const compact = ${JSON.stringify(claim.encode('compact'))}, json = ${JSON.stringify(claim.encode('json'))}
async function work() {
  await kez.init()
  const code = async (work) => { try { await work(); return 'none' } catch (error) { return error instanceof kez.KezError && error.code } }
  const history = kez.Chain.replay(${JSON.stringify(bundle)})
  return [
    kez.judge(compact, { subject: 'dns:example.com', history }).status,
    await code(() => kez.Claim.fromJson(json.replace('example.com', 'example.net'))),
    await code(() => kez.Claim.parse(json).encode('json')),
    await code(() => history.append({ type: 'add', subject: 'dns:a.example', claim: ${JSON.stringify(claim.id)} }, { signers: [] })),
    await code(() => kez.Claim.create({ subject: 'dns:a.example', signer: {} })),
  ].join(' ')
}
`)
  write('verify/index.html', page('./main.mjs'))
  run(bin('vite'), ['build', 'verify', '--base', './', '--logLevel', 'error'])
  const files = readdirSync(join(app, 'verify/dist/assets'))
  assert.equal(files.filter((name) => name.endsWith('.wasm')).length, 1, `one module: ${files}`)
  const server = await serve({ verify: join(app, 'verify/dist') })
  try {
    const left = 'signing_left_out'
    assert.equal(await inChromium(`${server.url}/verify/index.html`), `valid signature_bad ${left} ${left} ${left}`)
  } finally {
    server.close()
  }
})

test('what a library bundles of kez/errors is small', () => {
  write('errors.mjs', "export { KezError } from 'kez/errors'\n")
  run(bin('esbuild'), ['errors.mjs', '--bundle', '--minify', '--format=esm', '--outfile=out/errors.mjs'])
  assert.ok(readFileSync(join(app, 'out/errors.mjs')).length < 2000)
})

test('Vite, built and opened in Chromium under a strict policy', async () => {
  write('vite/main.mjs', titled('kez').replace('./smoke', '../smoke'))
  write('vite/index.html', page('./main.mjs'))
  run(bin('vite'), ['build', 'vite', '--base', './', '--logLevel', 'error'])
  const server = await serve({ vite: join(app, 'vite/dist') })
  try {
    assert.equal(await inChromium(`${server.url}/vite/index.html`), DONE)
  } finally {
    server.close()
  }
})

test('webpack, built and opened in Chromium under a strict policy', async () => {
  write('webpack/main.mjs', titled('kez').replace('./smoke', '../smoke'))
  write('webpack/config.cjs', `module.exports = { mode: 'production', entry: './webpack/main.mjs',
  output: { path: ${JSON.stringify(join(app, 'webpack/dist'))}, filename: 'main.js', publicPath: 'auto' }, performance: { hints: false } }
`)
  run(bin('webpack'), ['--config', 'webpack/config.cjs'])
  write('webpack/dist/index.html', page('./main.js'))
  const server = await serve({ webpack: join(app, 'webpack/dist') })
  try {
    assert.equal(await inChromium(`${server.url}/webpack/index.html`), DONE)
  } finally {
    server.close()
  }
})

test('a page without a bundler and with a strict policy, in Chromium and Firefox; the vectors there', async () => {
  const vectors = join(here, '../../kez-core/vectors')
  const names = readdirSync(vectors).filter((name) => name.endsWith('.json'))
  const all = Object.fromEntries(names.map((name) => [name, JSON.parse(readFileSync(join(vectors, name), 'utf8'))]))
  const run = 'kez.init().then(() => fetch("/all.json")).then((r) => r.json()).then((all) => runVectors(kez, all))'
  const texts = {
    '/smoke.html': page('/smoke.js'),
    '/smoke.js': titled('/kez/index.js').replace('./smoke', '/smoke'),
    '/smoke.mjs': readFileSync(join(here, 'smoke.mjs')),
    '/vectors.html': page('/vectors.js'),
    '/vectors.js': titled('/kez/index.js', run, "import { runVectors } from '/vectors.mjs'"),
    '/vectors.mjs': readFileSync(join(here, '../test/vectors.mjs')),
    '/all.json': JSON.stringify(all),
  }
  const server = await serve({ kez: join(kez, 'dist') }, texts)
  try {
    for (const open of [inChromium, inFirefox]) {
      assert.equal(await open(`${server.url}/smoke.html`), DONE)
      const { passed, wrong } = await open(`${server.url}/vectors.html`)
      assert.deepEqual(wrong, [])
      assert.equal(passed, countOf(all))
    }
  } finally {
    server.close()
  }
})

test('the service worker of an extension with Manifest V3', async () => {
  const folder = join(app, 'extension')
  cpSync(join(kez, 'dist'), join(folder, 'kez'), { recursive: true })
  cpSync(join(here, 'smoke.mjs'), join(folder, 'smoke.mjs'))
  write('extension/manifest.json', JSON.stringify({
    manifest_version: 3,
    name: 'kez',
    version: '1',
    background: { service_worker: 'background.js', type: 'module' },
    content_security_policy: { extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'" },
  }))
  write('extension/background.js', `import * as kez from './kez/index.js'
import { smoke } from './smoke.mjs'
globalThis.result = smoke(kez).catch((error) => error.stack)
`)
  assert.equal(await inExtension(folder, join(app, 'profile')), DONE)
})

test('publint and are-the-types-wrong are content', () => {
  run(bin('publint'), ['--strict', kez])
  run(bin('attw'), [tarball, '--profile', 'esm-only', '--exclude-entrypoints', './kez.wasm', './kez-verify.wasm', './kez-import.wasm', './kez-chat.wasm'])
})

test('TypeScript sees the same types under every resolution', () => {
  write('use.ts', `import { Chain, Claim, init, type Report, SecretKey, verify, KezError, type ErrorCode } from 'kez'
import { initSync } from 'kez/slim'
import { KezVerifyError } from 'kez/errors'
import { judge } from 'kez/verify'
void judge
export async function use(): Promise<Report['status']> {
  await init()
  initSync(new Uint8Array())
  const key: SecretKey = SecretKey.generate('nostr')
  const claim = await Claim.create({ subject: 'dns:example.com', signer: key })
  const chain = Chain.start(key.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [key] })
  // @ts-expect-error bytes are wanted
  SecretKey.fromBytes('nostr', 'secret')
  const [report] = await verify('dns:example.com', { signal: AbortSignal.timeout(1000) })
  try { chain.export() } catch (error) {
    if (error instanceof KezError) { const code: ErrorCode = error.code; void code }
    if (error instanceof KezVerifyError) throw error
  }
  return report!.status
}
`)
  const tsc = join(here, '../node_modules/typescript/bin/tsc')
  for (const [module, resolution] of [['node16', 'node16'], ['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    const options = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--module', module]
    run(process.execPath, [tsc, ...options, '--moduleResolution', resolution, 'use.ts'])
  }
})

test('npx kez', () => {
  const home = join(app, 'home')
  const output = run(join(app, 'node_modules/.bin/kez'), ['key', 'new', '--no-passphrase'], { env: { ...process.env, KEZ_HOME: home } })
  assert.match(output, /^default {2}ed25519:[0-9a-f]{64} {2}unencrypted\n$/)
})
