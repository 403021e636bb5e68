// The same app in Firefox: it starts, verifies, makes an identity, signs, and chats with itself.
import assert from 'node:assert/strict'
import test from 'node:test'
import { arrive, openFirefox } from '../../npm/packaging/browsers.mjs'
import { app, everybodyLeaves, tls } from './world.mjs'

test('a smoke pass in Firefox', async () => {
  const browser = await openFirefox(tls.proxy)
  try {
    const page = await browser.newPage()
    const wrong = []
    page.on('pageerror', (error) => wrong.push(String(error)))
    await arrive(page, app)
    await page.waitForSelector('#query')
    await page.type('#query', 'no such thing')
    await page.click('form button')
    await page.waitForSelector('[role=alert]')
    await arrive(page, `${app}/github:nobody-here`)
    await page.waitForFunction(() => document.body.innerText.includes('no such account'))
    await arrive(page, `${app}/keys`)
    const button = await page.waitForSelector('main button.primary')
    await button.click()
    await page.waitForSelector('dd code')
    const identity = await page.$eval('dd code', (code) => code.textContent)
    assert.match(identity, /^ed25519:/)
    await arrive(page, `${app}/chat`)
    await page.waitForSelector('#handle')
    await page.type('#handle', 'firefox')
    await page.click('main form button')
    await page.waitForFunction(() => document.querySelector('.pill')?.textContent.includes('live'))
    await arrive(page, `${app}/${identity}`)
    await page.waitForFunction(() => document.querySelector('h1') !== null && !document.body.innerText.includes('◌'))
    assert.deepEqual(wrong, [])
  } catch (error) {
    const [page] = (await browser.pages()).slice(-1)
    // What does not answer shall not hold the test.
    const text = page.evaluate(() => document.body.innerText).catch(String)
    console.error(await Promise.race([text, new Promise((done) => setTimeout(done, 5000, 'no answer'))]))
    throw error
  } finally {
    await browser.close()
    await everybodyLeaves()
  }
})
