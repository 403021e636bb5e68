// The same extension in Firefox. Its marks are closed to the page, and to what drives Firefox: that they are there is what is seen;
// what they say, the toolbar says too, of which the extension's own pages can ask the browser.
import assert from 'node:assert/strict'
import test, { after } from 'node:test'
import { join } from 'node:path'
import { arrive, openFirefox } from '../../npm/packaging/browsers.mjs'
import { everywhere, github, Somebody, troubles } from './people.mjs'
import { attack, closeSites, files, kinds, NOTHING, takeAway } from './sites.mjs'
import { everybodyLeaves, extensions, pictures, routes, tls, wish } from './world.mjs'

// Firefox draws the extension's address anew for each profile, unless it is told.
const UUID = '7c1d1e5e-3f0c-4a53-9d0e-0f8a3f6b2c11'
const home = `moz-extension://${UUID}/`
// How long Firefox lets a worker rest before it ends it, in milliseconds.
const IDLE = 3000
const firefox = await openFirefox(tls.proxy, {
  'extensions.webextensions.uuids': JSON.stringify({ 'extension@kez.example': UUID }),
  'extensions.background.idle.timeout': IDLE,
})
after(async () => {
  await firefox.close()
  await everybodyLeaves()
  closeSites()
})

const pause = (ms) => new Promise((done) => setTimeout(done, ms))
/** How often GitHub was asked. */
const asked = () => tls.every.filter(({ host }) => host === 'api.github.com').length

await firefox.installExtension(extensions[1])
const page = await firefox.newPage()

/** Opens a page of the extension, of whose arrival Firefox tells its driver nothing. */
async function opened(place) {
  const one = await firefox.newPage()
  one.goto(`${home}${place}`).catch(() => undefined)
  const there = () => one.evaluate((url) => location.href === url && document.querySelector('h1') !== null, `${home}${place}`)
  while (!(await there().catch(() => false))) await pause(50)
  return one
}
const options = await opened('options.html')

/** What the toolbar says of the page, once it says so. */
async function toolbar(wanted) {
  const end = Date.now() + 20_000
  for (;;) {
    const said = await options.evaluate(async (url) => {
      const [tab] = await browser.tabs.query({ url })
      if (tab === undefined) return {}
      // The title is set last.
      const title = await browser.action.getTitle({ tabId: tab.id })
      return { title, text: await browser.action.getBadgeText({ tabId: tab.id }) }
    }, page.url())
    if (wanted.test(said.title)) return said.text
    if (Date.now() > end) assert.match(String(said.title), wanted)
    await pause(50)
  }
}
/** Goes to somebody's page at GitHub, and sees what the toolbar says, its sign, and whether there is a mark. */
async function sees(login, said, sign, mark = true) {
  await arrive(page, `https://github.com/${login}`)
  assert.equal(await toolbar(new RegExp(`^github:${login}: ${said}`)), sign, login)
  if (mark) await page.waitForSelector('kez-mark')
  else assert.equal(await page.$('kez-mark'), null)
}

const { person: alice, places } = await everywhere('fire-alice')
await github('fire-nobody', null)

test('a mark on every site, as soon as its platforms have answered', async () => {
  const took = []
  for (const place of places) {
    await arrive(page, place)
    const start = performance.now()
    const mark = await page.waitForSelector('kez-mark', { timeout: 20_000 })
    took.push(Math.round(performance.now() - start))
    console.error(`${place}: mark after ${took.at(-1)} ms`)
    assert.ok((await mark.boundingBox()).width > 60)
    assert.equal(await page.evaluate(() => document.querySelector('kez-mark').shadowRoot), null)
    assert.equal(await toolbar(/: 5 of 5 verified$/), '✓')
    if (took.length === 1) await page.screenshot({ path: join(pictures, 'extension-firefox-1.png') })
  }
  took.sort((a, b) => a - b)
  assert.ok(took[Math.floor(took.length / 2)] <= 1500, `median of ${took}`)
  // Known, and nobody is asked.
  const then = asked()
  await arrive(page, 'https://github.com/fire-alice')
  await page.waitForSelector('kez-mark')
  assert.equal(asked(), then)
})

test('nothing where there is nothing', async () => {
  const before = asked()
  await arrive(page, 'https://github.com/fire-nobody')
  assert.equal(await toolbar(/Nothing of KEZ/), '')
  assert.ok(asked() > before)
  assert.equal(await page.$('kez-mark'), null)
})

test('what is wrong is shown as what it is', async () => {
  for (const { login, text } of await troubles('fire-', alice, 'github:fire-alice', files)) {
    await sees(login, text.slice(2), '!')
    if (login === 'fire-mallory') await page.screenshot({ path: join(pictures, 'extension-firefox-2.png') })
  }
})

test('what cannot be asked now is said, and is silent on pages of strangers', async () => {
  const rose = new Somebody()
  await github('fire-rose', (await rose.claim('github:fire-rose')).encode('markdown'))
  await rose.publish()
  await sees('fire-rose', '1 of 1 verified', '✓')
  const forget = () => options.evaluate(() => browser.storage.local.remove(['known:github:fire-rose', 'who:github:fire-rose']))
  await github('fire-somebody', null)
  await wish('gist', { message: { op: 'limit', remaining: 0, kind: '403' } })
  await forget()
  await sees('fire-rose', 'cannot be checked before \\d', '')
  await sees('fire-somebody', 'cannot be checked before \\d', '', false)
  await options.evaluate(() => browser.storage.session.remove('wait:github'))
  await wish('gist', { message: { op: 'limit', remaining: 5000, kind: '403' } })
  const api = routes.get('api.github.com')
  routes.set('api.github.com', 'http://127.0.0.1:9')
  await sees('fire-rose', 'cannot be checked now', '')
  routes.set('api.github.com', api)
  await sees('fire-rose', '1 of 1 verified', '✓')
})

test('the popup has all of it', async () => {
  await arrive(page, 'https://github.com/fire-alice')
  await toolbar(/5 of 5 verified/)
  const id = await options.evaluate(async (url) => (await browser.tabs.query({ url }))[0].id, page.url())
  const popup = await opened(`popup.html?tab=${id}`)
  await popup.waitForFunction(() => document.body.innerText.includes('5 of 5 verified'))
  const text = await popup.evaluate(() => document.body.innerText)
  for (const subject of ['github:fire-alice', 'dns:example.com', 'bluesky:alice.test', 'ap:jason@social.example']) assert.ok(text.includes(subject), text)
  await popup.screenshot({ path: join(pictures, 'extension-firefox-popup.png') })
  await popup.close()
})

test('the worker may end at any time', async () => {
  const gone = () => options.evaluate(() => browser.extension.getBackgroundPage() === null)
  while (!(await gone())) await pause(100)
  await sees('fire-nobody', 'Nothing of KEZ', '', false)
  await sees('fire-alice', '5 of 5 verified', '✓')
})

test('a hostile page gains nothing, and a site that was redesigned has no mark', async () => {
  await sees('fire-mallory', 'contradicted', '!')
  const tabs = (await firefox.pages()).length
  assert.deepEqual(await page.evaluate(attack, home), NOTHING)
  assert.deepEqual(page.frames().filter((frame) => frame.url().startsWith(home)), [])
  assert.equal(await toolbar(/^github:fire-mallory: contradicted/), '!')
  assert.equal((await firefox.pages()).length, tabs)
  await sees('fire-alice', '5 of 5 verified', '✓')
  assert.ok((await page.evaluate(takeAway)) <= 16)
  assert.equal(await toolbar(/^github:fire-alice: 5 of 5 verified/), '✓')
  kinds.set('github.com', 'strange')
  await sees('fire-alice', '5 of 5 verified', '✓', false)
  kinds.set('github.com', 'github')
})
