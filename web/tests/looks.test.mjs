// How the app looks and holds: every page in light and dark, at 320 pixels, from right to left and in forced
// colours; what remote text can do (nothing); what a page weighs; and that it works without a network.
import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { after } from 'node:test'
import { looksAsBefore } from './baseline.mjs'
import { Somebody } from './people.mjs'
import { accessible, app, calm, everybodyLeaves, folder, part, person, picture, routes, wish } from './world.mjs'

after(everybodyLeaves)
const PAGES = ['/', '/prove', '/prove/github', '/keys', '/chat', '/settings', '/github:nobody-here']
const name = (path) => (path === '/' ? 'home' : path.slice(1).replaceAll(/[^a-z-]/g, '-'))

const live = (page) => page.locator('.pill', { hasText: '● live' }).waitFor()

/** Makes somebody an identity, and a handle. */
async function chatting(page, handle) {
  await page.goto(`${app}/keys`)
  await page.getByRole('button', { name: 'Make an identity' }).click()
  await page.locator('dd code').first().waitFor()
  await page.goto(`${app}/chat`)
  await page.locator('#handle').fill(handle)
  await page.getByRole('button', { name: 'Register' }).click()
  await live(page)
}

const looks = {
  light: {},
  dark: { colorScheme: 'dark' },
  narrow: { viewport: { width: 320, height: 640 } },
  forced: { forcedColors: 'active' },
  arabic: { locale: 'ar' },
  'arabic-narrow': { locale: 'ar', viewport: { width: 320, height: 640 } },
}
for (const [look, browser] of Object.entries(looks)) {
  part(`every page, ${look}`, async () => {
    const page = await person({ browser })
    // So that everything was just now.
    await page.clock.setFixedTime(Math.floor(Date.now() / 1000) * 1000)
    await page.goto(`${app}/keys`)
    await page.locator('main button.primary').first().click()
    await page.locator('dd code').first().waitFor()
    for (const path of PAGES) {
      await page.goto(app + path)
      await page.locator('h1').waitFor()
      await page.waitForFunction(() => !document.querySelector('main').innerText.includes('◌'))
      const { scrollWidth, clientWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, clientWidth: innerWidth }))
      assert.ok(scrollWidth <= clientWidth, `${path} is ${scrollWidth} wide on ${clientWidth}`)
      await accessible(page, `${look} ${path}`)
      await picture(page, `${look}-${name(path)}`)
      await looksAsBefore(page, `${look}-${name(path)}`)
    }
    if (look.startsWith('arabic')) {
      assert.deepEqual(await page.evaluate(() => [document.documentElement.dir, document.documentElement.lang]), ['rtl', 'ar'])
    }
    calm(page, look)
    await page.context().close()
  })
}

/** Texts that would do something if they were ever taken for markup, an address or a style. */
const TAGS = ['<img src=x onerror=X>', '<svg onload=X>', '<script>X</script>', '"><script>X</script>', "'><img src=x onerror=X>"]
const MORE = [
  '<iframe srcdoc="<script>parent.X</script>">', '<a href="javascript:X">a</a>', '<body onload=X>', '<details open ontoggle=X>', '<input autofocus onfocus=X>',
  '<math><mtext></table><mglyph><style><img src=x onerror=X>', '<video><source onerror=X>', '<marquee onstart=X>', '<object data="javascript:X">', '<embed src="javascript:X">',
  '</textarea><script>X</script>', '</title><script>X</script>', '</style><script>X</script>', '</noscript><script>X</script>', '<noscript><p title="</noscript><img src=x onerror=X>">',
  '{@html "<img src=x onerror=X>"}', '{{constructor.constructor("X")()}}', '${X}', '<%= X %>', '#{X}',
  'javascript:X', 'data:text/html,<script>X</script>', '\u202e<script>X</script>', '<scr\u0000ipt>X</script>', '<ſcript>X</ſcript>',
  '<base href="https://evil.example/">', '<link rel=stylesheet href="https://evil.example/x.css">', '<meta http-equiv=refresh content="0;url=https://evil.example/">', '<style>*{background:url(https://evil.example/)}</style>', '<form action="https://evil.example/"><button>',
  '<template><script>X</script></template>', '<slot onslotchange=X>', '<img src="https://evil.example/pixel.gif">', '<button popovertarget=x onclick=X>', '<xmp><img src=x onerror=X></xmp>',
]
const PAYLOADS = [...TAGS, ...MORE].map((text) => text.replaceAll('X', 'window.hit=1'))

part('remote text does nothing, wherever it gets to', async () => {
  assert.equal(PAYLOADS.length, 40)
  const page = await person()
  const strange = []
  page.on('request', (request) => {
    if (new URL(request.url()).host === 'evil.example') strange.push(request.url())
  })
  // In the address, where it becomes the title, the heading, and the field.
  for (const text of PAYLOADS) {
    await page.goto(`${app}/?q=${encodeURIComponent(text)}`)
    await page.locator('h1').waitFor()
  }
  // In a platform's answer, which is shown as it came.
  await wish('gist', { message: { op: 'user', login: 'mallory', id: 666 } })
  await wish('gist', { message: { op: 'gist', login: 'mallory', files: { 'kez.md': `kez:z1:AAAA ${PAYLOADS.join('\n')}` } } })
  await page.goto(`${app}/github:mallory`)
  await page.getByText('contradicted').first().waitFor()
  await page.locator('tbody summary').first().click()
  await page.locator('tbody pre').first().waitFor()
  assert.match(await page.locator('tbody pre').first().textContent(), /onerror/)
  // In conversations, by somebody who has nothing better to do.
  const [eve, fay] = [await person(), await person()]
  for (const [one, handle] of [[eve, 'eve'], [fay, 'fay']]) {
    await chatting(one, handle)
  }
  await eve.locator('#people').fill('fay')
  await eve.getByRole('button', { name: 'Open', exact: true }).click()
  for (const text of PAYLOADS) {
    await eve.locator('#message').fill(text)
    await eve.locator('#message').press('Enter')
  }
  await fay.getByRole('button', { name: /eve/ }).click()
  await fay.locator('article.text').nth(PAYLOADS.length - 1).waitFor()
  // As it was written, to the letter.
  const said = await fay.locator('.said').allTextContents()
  assert.deepEqual(new Set(said), new Set(PAYLOADS))
  for (const one of [page, eve, fay]) {
    assert.equal(await one.evaluate(() => window.hit), undefined)
    calm(one)
    await one.context().close()
  }
  assert.deepEqual(strange, [])
})

/** How many bytes of JavaScript a page may load, packed. */
const BUDGET = 66_000

/** What a page loads may not exceed. Gives its modules. */
async function weigh(page, path, budget = BUDGET, ready = () => page.waitForLoadState('networkidle')) {
  const loaded = []
  const keep = (response) => loaded.push(response)
  page.on('response', keep)
  await page.goto(app + path)
  await page.locator('h1').waitFor()
  await ready()
  page.off('response', keep)
  let bytes = 0
  const modules = []
  for (const response of loaded) {
    const { pathname } = new URL(response.url())
    // The worker fetches everything once more, for later.
    if (response.request().serviceWorker() !== null) continue
    if (pathname.endsWith('.js')) bytes += gzipSync(await response.body()).length
    if (pathname.endsWith('.wasm')) modules.push(pathname.replace(/.*\/|\.[^.]+\.wasm$/g, ''))
  }
  console.error(`${path}: ${bytes} bytes of JavaScript in gzip; ${modules.join(', ')}`)
  assert.ok(bytes <= budget, `${path} has ${bytes} bytes of JavaScript`)
  return modules
}

part('no page weighs more than it should, and chat’s module is loaded by chat alone', async () => {
  for (const path of PAGES) {
    const page = await person()
    assert.deepEqual(await weigh(page, path, path === '/' ? 54_000 : BUDGET), ['kez'], path)
    await page.context().close()
  }
})

part('nor does it with one’s own identity and conversations', async () => {
  const page = await person()
  await chatting(page, 'hal')
  assert.deepEqual(await weigh(page, '/keys'), ['kez'])
  const modules = await weigh(page, '/chat', BUDGET, () => live(page))
  assert.deepEqual(modules.toSorted(), ['kez', 'kez-chat'])
  await page.context().close()
})

part('a group is left', async () => {
  const [gus, ida, jon] = [await person(), await person(), await person()]
  for (const [one, handle] of [[gus, 'gus'], [ida, 'ida'], [jon, 'jon']]) await chatting(one, handle)
  await gus.locator('#people').fill('ida, jon')
  await gus.locator('#group').fill('we three')
  await gus.getByRole('button', { name: 'Open' }).click()
  const group = (page) => page.getByRole('region', { name: 'we three' })
  await group(gus).waitFor()
  await ida.getByRole('button', { name: 'we three' }).click()
  await group(ida).getByRole('button', { name: 'Leave the group' }).click()
  await accessible(ida, 'leaving')
  await picture(ida, 'leaving')
  await group(ida).getByRole('button', { name: 'Yes, do it' }).click()
  await group(ida).getByText('You are no longer in it.').waitFor()
  assert.equal(await group(ida).locator('#message').count(), 0)
  await group(gus).getByText('ida left').waitFor()
  await group(gus).locator('#message').fill('without ida')
  await group(gus).getByRole('button', { name: 'Send' }).click()
  await jon.getByRole('button', { name: 'we three' }).click()
  await group(jon).getByText('without ida').waitFor()
  await group(jon).getByText('2 devices').waitFor()
  assert.equal(await group(ida).getByText('without ida').count(), 0)
  for (const one of [gus, ida, jon]) {
    calm(one)
    await one.context().close()
  }
})

part('without a network the pages are there, and say so', async () => {
  const page = await person()
  await page.goto(app)
  const start = await page.evaluate(() => performance.now())
  console.error(`front page usable ${Math.round(start)} ms after it was asked for`)
  assert.ok(start < 1000)
  await page.evaluate(() => navigator.serviceWorker.ready)
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
  await page.context().setOffline(true)
  for (const path of ['/', '/keys', '/prove', '/settings']) {
    await page.goto(app + path)
    await page.locator('h1').waitFor()
  }
  await page.getByText('You are offline.').waitFor()
  await page.goto(`${app}/keys`)
  await page.getByRole('button', { name: 'Make an identity' }).waitFor()
  await page.goto(`${app}/github:somebody`)
  await page.getByText('cannot be checked now').first().waitFor()
  await page.context().close()
})

/** Somebody whose page does not get files with a text in them, so many times; and how often that was. */
async function without(text, times) {
  const page = await person()
  // A worker of the page would have them already.
  await page.addInitScript(() => delete Navigator.prototype.serviceWorker)
  const refused = { times: 0 }
  await page.route('**/_app/immutable/**', async (route) => {
    const response = await route.fetch()
    if (refused.times === times || !(await response.text()).includes(text)) return route.fulfill({ response })
    refused.times += 1
    return route.abort()
  })
  return { page, refused }
}

part('where the table of explanations does not come, the code is told', async () => {
  const { page, refused } = await without('Publish the proof again as plain UTF-8 text.', Infinity)
  await page.goto(`${app}/github:nobody-here`)
  await page.getByText('identity_not_found', { exact: true }).waitFor()
  assert.ok(refused.times > 0)
  calm(page, 'no explanation')
  await page.context().close()
})

part('a page that cannot start says so', async () => {
  const page = await person()
  await page.addInitScript(() => delete Navigator.prototype.serviceWorker)
  await page.route('**/kez.*.wasm', (route) => route.abort())
  await page.goto(`${app}/keys`)
  await page.getByText('KEZ could not start').waitFor()
  await page.unroute('**/kez.*.wasm')
  await page.reload()
  await page.getByRole('heading', { level: 1 }).waitFor()
  await page.context().close()
})

part('a link whose texts do not come is followed as without a script', async () => {
  const { page, refused } = await without('Sigchain servers, one a line', 1)
  await page.goto(app)
  await page.evaluate(() => (window.before = true))
  await page.getByRole('link', { name: 'Settings' }).click()
  await page.locator('#language').waitFor()
  assert.deepEqual([refused.times, await page.evaluate(() => window.before)], [1, undefined])
  await page.context().close()
})

part('a service that there is none of leads to those that there are', async () => {
  const page = await person()
  await page.goto(`${app}/prove/nothing`)
  await page.waitForURL(`${app}/prove`)
  await page.getByRole('button', { name: 'Make an identity' }).waitFor()
  calm(page)
  await page.context().close()
})

part('a new version is offered, and taken only when one says so', async () => {
  const page = await person()
  await page.goto(app)
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
  appendFileSync(join(folder, 'service-worker.js'), '\n// The next version.\n')
  await page.evaluate(() => navigator.serviceWorker.getRegistration().then((registration) => registration.update()))
  await page.getByText('A new version is ready.').waitFor()
  await accessible(page, 'a new version')
  // What runs goes on until then.
  await page.evaluate(() => (window.before = true))
  await page.waitForTimeout(500)
  assert.equal(await page.evaluate(() => window.before), true)
  await page.getByRole('button', { name: 'Reload' }).click()
  await page.waitForFunction(() => window.before === undefined)
  await page.locator('h1').waitFor()
  assert.equal(await page.getByText('A new version is ready.').count(), 0)
  calm(page)
  await page.context().close()
})

part('what could not be published says why, and a chain that went on elsewhere is no surprise', async () => {
  const gail = new Somebody()
  await gail.claim('github:gail')
  await gail.publish()
  const page = await person()
  await page.goto(`${app}/keys#import`)
  await page.locator('#import-text').fill(gail.key.encrypt('gail’s words'))
  await page.locator('#import-passphrase').fill('gail’s words')
  await page.getByRole('button', { name: 'Import' }).click()
  const card = page.locator('li.card', { hasText: 'github:gail' })
  await card.waitFor()
  const sig = routes.get('sig.example')
  routes.set('sig.example', 'http://127.0.0.1:9')
  await card.getByRole('button', { name: 'Revoke' }).click()
  await card.getByRole('button', { name: 'Yes, do it' }).click()
  await page.getByText('the sigchain could not be published').waitFor()
  await page.getByText('connect_failed').waitFor()
  await accessible(page, 'not published')
  routes.set('sig.example', sig)
  // Meanwhile the same key has signed something else.
  await gail.claim('github:gail-too')
  await gail.publish()
  await page.getByRole('button', { name: 'Publish the sigchain' }).click()
  await page.getByText(/^forked$|^head_conflict$/).waitFor()
  await accessible(page, 'a conflict')
  await page.context().close()
})
