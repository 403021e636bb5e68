// The world that the app is tried in: real servers on this machine, a browser for each person, and what
// people do on the platforms' own pages. xtask (src/web.rs) starts it, and grants the wishes.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import assert from 'node:assert/strict'
import test from 'node:test'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { extension } from '../../npm/packaging/nip07.mjs'
import { withProfile } from '../../npm/packaging/browsers.mjs'
import { front, leadTo } from '../../npm/packaging/front.mjs'

const setting = JSON.parse(process.env.KEZ_WEB)
export const { app, folder, pictures, extensions } = setting
const input = createInterface({ input: process.stdin })
const answers = input[Symbol.asyncIterator]()

/** Does something on a platform, as its own page would. */
export async function wish(op, members) {
  process.stdout.write(`wish ${JSON.stringify({ op, ...members })}\n`)
  const { value } = await answers.next()
  const answer = JSON.parse(value)
  if (answer?.error !== undefined) throw new Error(`${op}: ${answer.error}`)
  return answer
}

/** Which server has the place of which host. */
export const routes = new Map(setting.routes)
export const tls = await front(setting.certificate, setting.key, routes, app)
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const open = []

// What browsers print of their own: a platform that has no such account answers 404, and a domain's own site
// need not let pages read it.
const EXPECTED = /Failed to load resource|WebSocket connection|\/\.well-known\/\S+ from origin \S+ has been blocked by CORS/

/** Somebody with a browser of their own. What goes wrong on their pages is kept in `page.wrong`. */
export async function person(options = {}) {
  const profile = options.profile ?? mkdtempSync(join(tmpdir(), 'kez-web-'))
  const context = await withProfile(profile, {
    args: [...leadTo(tls), ...(options.args ?? []), ...(options.camera === undefined ? [] : camera(options.camera, profile)), '--font-render-hinting=none', '--force-color-profile=srgb', '--disable-lcd-text'],
    bypassCSP: false,
    permissions: ['clipboard-read', 'clipboard-write', 'camera'],
    locale: 'en-US',
    viewport: { width: 1100, height: 900 },
    ...options.browser,
  })
  open.push(context)
  const page = await opened(context, context.pages()[0])
  page.nostr = await extension(page)
  return Object.assign(page, { profile })
}

/** Another page of somebody's. */
export async function opened(context, page) {
  page ??= await context.newPage()
  page.wrong = []
  page.setDefaultTimeout(20_000)
  page.on('pageerror', (error) => page.wrong.push(`error: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error' && !EXPECTED.test(message.text())) page.wrong.push(message.text())
  })
  return page
}

/** The options of a browser whose camera sees a QR code. */
function camera(text, folder) {
  const { encode } = createRequire(import.meta.url)('uqr')
  const { size, data } = encode(text, { ecc: 'L', border: 4 })
  const scale = Math.floor(480 / size)
  const [width, height] = [640, 480]
  const light = Buffer.alloc(width * height, 255)
  for (let y = 0; y < size * scale; y += 1) {
    for (let x = 0; x < size * scale; x += 1) {
      if (data[Math.floor(y / scale)][Math.floor(x / scale)]) light[y * width + x] = 0
    }
  }
  const frame = Buffer.concat([Buffer.from('FRAME\n'), light, Buffer.alloc((width * height) / 2, 128)])
  const file = join(folder, 'camera.y4m')
  writeFileSync(file, Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F10:1 Ip A1:1 C420jpeg\n`), frame, frame]))
  return ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${file}`]
}

/** Which hosts pages have asked since the last call. */
export const asked = () => tls.asked.splice(0).map(({ host }) => host)

/** A test whose pages are kept as pictures if it fails. */
export const part = (name, work) =>
  test(name, async () => {
    try {
      await work()
    } catch (error) {
      for (const [n, one] of open.entries()) {
        for (const [m, page] of one.pages().entries()) {
          await page.screenshot({ path: join(pictures, `failed-${n}-${m}.png`), fullPage: true }).catch(() => undefined)
          const text = await page.locator('body').innerText({ timeout: 1000 }).catch(() => '')
          console.error(`person ${n} at ${page.url()}:`, page.wrong, text.slice(0, 1500))
        }
      }
      console.error('asked:', tls.asked.slice(-30))
      throw error
    }
  })

let failed = false
/** A part of a story: where one fails, the later ones make no sense. */
export const chapter = (name, work) =>
  part(name, async () => {
    if (failed) throw new Error('an earlier chapter failed')
    failed = true
    await work()
    failed = false
  })

/** Nothing went wrong on the page: no error, no breach of its policy. */
export function calm(page, what) {
  assert.deepEqual(page.wrong, [], what)
}

export const everybodyLeaves = async () => {
  await Promise.all(open.map((context) => context.close()))
  tls.close()
  input.close()
  process.stdin.destroy()
}

/** No rule of accessibility that a machine can check is broken. */
export async function accessible(page, what) {
  await page.locator('h1').waitFor()
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() =>
    axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
  )
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((n) => n.html).join(' | ')}`)
  assert.deepEqual(told, [], what)
}

export const picture = (page, name) => page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true, animations: 'disabled' })
