// Debian's Chromium and Firefox, by the library that can drive each.
import { chromium } from 'playwright-core'
import puppeteer from 'puppeteer-core'

export const FLAGS = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Opens a page in Chromium; gives its `result`, once it has one. */
export async function inChromium(url, args = [], prepare = async () => {}) {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [...FLAGS, ...args] })
  try {
    const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage()
    const errors = []
    page.on('pageerror', (error) => errors.push(String(error)))
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
    await prepare(page)
    await page.goto(url)
    await page
      .waitForFunction(() => document.title !== '', undefined, { timeout: 60_000 })
      .catch((error) => Promise.reject(new Error(`${error}\n${errors.join('\n')}`)))
    return JSON.parse(await page.title())
  } finally {
    await browser.close()
  }
}

/** Chromium with a profile that stays, as a user has it. */
export function withProfile(profile, { args = [], ...options } = {}) {
  return chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [...FLAGS, ...args],
    viewport: { width: 800, height: 600 },
    ...options,
  })
}

/** Firefox; with a proxy for all but this machine, if one is given. With `settings`, its driver may see the pages of extensions. */
export function openFirefox(proxy, settings) {
  const through = {
    'network.proxy.type': 1,
    'network.proxy.ssl': '127.0.0.1',
    'network.proxy.ssl_port': proxy,
    'network.proxy.no_proxies_on': 'localhost, 127.0.0.1',
  }
  return puppeteer.launch({
    browser: 'firefox',
    executablePath: '/usr/bin/firefox-esr',
    headless: true,
    args: settings === undefined ? [] : ['--remote-allow-system-access'],
    acceptInsecureCerts: proxy !== undefined,
    extraPrefsFirefox: { ...(proxy === undefined ? {} : through), ...settings },
  })
}

/** Goes to a page in Firefox, which now and then does not tell its driver that it is there, or loses a connection: then it goes again. */
export async function arrive(page, place) {
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

/** As {@link inChromium}, in Firefox. */
export async function inFirefox(url) {
  const browser = await openFirefox()
  try {
    const page = await browser.newPage()
    await page.goto(url)
    await page.waitForFunction(() => document.title !== '', { timeout: 60_000 })
    return JSON.parse(await page.title())
  } finally {
    await browser.close()
  }
}

/** Loads an unpacked extension into Chromium; gives what its service worker answers. */
export async function inExtension(folder, profile) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [...FLAGS, `--disable-extensions-except=${folder}`, `--load-extension=${folder}`],
  })
  try {
    const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent('serviceworker'))
    return await worker.evaluate(() => globalThis.result)
  } finally {
    await context.close()
  }
}
