// The same extension in Firefox. Its marks are closed to the page, and to what drives Firefox: that they are there is what is seen.
import assert from 'node:assert/strict'
import test from 'node:test'
import { join } from 'node:path'
import { openFirefox } from '../../npm/packaging/browsers.mjs'
import { github, Somebody } from './people.mjs'
import { closeSites } from './sites.mjs'
import { everybodyLeaves, extensions, pictures, tls } from './world.mjs'

test('marks in Firefox', async () => {
  const alice = new Somebody()
  await github('fire-alice', (await alice.claim('github:fire-alice')).encode('markdown'))
  await alice.publish()
  await github('fire-mallory', (await alice.claim('github:fire-alice', { list: false })).encode('markdown'))
  await github('fire-nobody', null)
  const browser = await openFirefox(tls.proxy)
  try {
    await browser.installExtension(extensions[1])
    const page = await browser.newPage()
    const asked = () => tls.every.filter(({ host }) => host === 'api.github.com').length
    for (const login of ['fire-alice', 'fire-mallory']) {
      await page.goto(`https://github.com/${login}`)
      const start = performance.now()
      const mark = await page.waitForSelector('kez-mark', { timeout: 20_000 })
      console.error(`${login}: mark after ${Math.round(performance.now() - start)} ms`)
      assert.ok((await mark.boundingBox()).width > 60)
      assert.equal(await page.evaluate(() => document.querySelector('kez-mark').shadowRoot), null)
      await page.screenshot({ path: join(pictures, `extension-firefox-${login.slice(5)}.png`) })
    }
    const before = asked()
    await page.goto('https://github.com/fire-nobody')
    while (asked() === before) await new Promise((done) => setTimeout(done, 50))
    await new Promise((done) => setTimeout(done, 1000))
    assert.equal(await page.$('kez-mark'), null)
    // Known, and nobody is asked.
    const then = asked()
    await page.goto('https://github.com/fire-alice')
    await page.waitForSelector('kez-mark')
    assert.equal(asked(), then)
  } finally {
    await browser.close()
    await everybodyLeaves()
    closeSites()
  }
})
