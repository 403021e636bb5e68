// Is the user in Chromium whom a program has sent to their Bluesky server: signs in, allows or denies it, and prints
// what the page says to which the browser comes back.
//
//     node allow.mjs <url> allow|deny < password
import { text } from 'node:stream/consumers'
import { chromium } from 'playwright-core'
import { FLAGS } from './browsers.mjs'

const [url, answer] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS })
try {
  const page = await browser.newPage()
  await page.goto(url)
  await page.locator('input[name=password]').fill((await text(process.stdin)).trim())
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.getByRole('button', { name: answer === 'deny' ? 'Deny access' : 'Authorize', exact: true }).click()
  await page.waitForURL('http://127.0.0.1:*/**')
  console.log(await page.locator('body').innerText())
} finally {
  await browser.close()
}
