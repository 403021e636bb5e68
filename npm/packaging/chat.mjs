// Drives the plain chat page in Chromium: each line on stdin is an expression for the page, and its
// value is printed as a line of JSON. `screenshot <file>` and `reload` are for the driver.
//
//     node chat.mjs <url> <profile folder>
import { createInterface } from 'node:readline'
import { withProfile } from './browsers.mjs'

const [url, profile] = process.argv.slice(2)
const browser = await withProfile(profile)
const page = browser.pages()[0] ?? (await browser.newPage())
page.on('pageerror', (error) => console.error('page:', error.message))
page.on('console', (message) => message.type() === 'error' && console.error('page:', message.text()))
const load = async () => {
  await page.goto(url)
  await page.waitForFunction(() => document.title === 'ready')
}
await load()
console.log('"ready"')
for await (const line of createInterface({ input: process.stdin })) {
  try {
    if (line.startsWith('screenshot ')) await page.screenshot({ path: line.slice(11) })
    else if (line === 'reload') await load()
    const done = /^(screenshot |reload)/.test(line)
    console.log(JSON.stringify(done ? true : ((await page.evaluate(line)) ?? null)))
  } catch (error) {
    console.log(JSON.stringify({ failed: error.message }))
  }
}
await browser.close()
