// The same extension in Firefox. Its marks are closed to the page, and to what drives Firefox: that they are there is what is seen.
import assert from 'node:assert/strict'
import test from 'node:test'
import { join } from 'node:path'
import { openFirefox } from '../../npm/packaging/browsers.mjs'
import { everywhere, github } from './people.mjs'
import { closeSites } from './sites.mjs'
import { everybodyLeaves, extensions, pictures, tls } from './world.mjs'

/** Goes to a page. Firefox now and then does not tell its driver that it is there, or loses a connection: then it goes again. */
async function arrive(page, place) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await page.goto(place, { waitUntil: 'domcontentloaded', timeout: 8000 })
      return
    } catch (error) {
      if (attempt === 2) throw error
      console.error(`${place}: ${error.message}`)
    }
  }
}

test('marks in Firefox', async () => {
  const { person: alice, places } = await everywhere('fire-alice')
  await github('fire-mallory', (await alice.claim('github:fire-alice', { list: false })).encode('markdown'))
  await github('fire-nobody', null)
  const browser = await openFirefox(tls.proxy)
  try {
    await browser.installExtension(extensions[1])
    const page = await browser.newPage()
    const asked = () => tls.every.filter(({ host }) => host === 'api.github.com').length
    const took = []
    for (const place of ['https://github.com/fire-mallory', ...places]) {
      await arrive(page, place)
      const start = performance.now()
      const mark = await page.waitForSelector('kez-mark', { timeout: 20_000 })
      took.push(Math.round(performance.now() - start))
      console.error(`${place}: mark after ${took.at(-1)} ms`)
      assert.ok((await mark.boundingBox()).width > 60)
      assert.equal(await page.evaluate(() => document.querySelector('kez-mark').shadowRoot), null)
      if (took.length < 3) await page.screenshot({ path: join(pictures, `extension-firefox-${took.length}.png`) })
    }
    took.sort((a, b) => a - b)
    assert.ok(took[Math.floor(took.length / 2)] <= 500, `median of ${took}`)
    const before = asked()
    await arrive(page, 'https://github.com/fire-nobody')
    while (asked() === before) await new Promise((done) => setTimeout(done, 50))
    await new Promise((done) => setTimeout(done, 1000))
    assert.equal(await page.$('kez-mark'), null)
    // Known, and nobody is asked.
    const then = asked()
    await arrive(page, 'https://github.com/fire-alice')
    await page.waitForSelector('kez-mark')
    assert.equal(asked(), then)
  } finally {
    await browser.close()
    await everybodyLeaves()
    closeSites()
  }
})
