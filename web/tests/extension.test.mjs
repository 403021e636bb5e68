// The extension in Chromium: hand-made pages in the place of the sites, real servers in that of the platforms.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after } from 'node:test'
import { Chain } from '../../npm/dist/node.js'
import { looksAsBefore } from './baseline.mjs'
import { everywhere, github, Somebody, troubles } from './people.mjs'
import { attack, closeSites, files, kinds, NOTHING, takeAway } from './sites.mjs'
import { accessible, calm, everybodyLeaves, extensions, opened, part, person, picture, pictures, routes, tls, wish } from './world.mjs'

after(async () => {
  await everybodyLeaves()
  closeSites()
})
const [PLATFORM, ALL, ARABIC] = extensions

/** A browser with the extension in it. */
async function withExtension(folder, browser = {}) {
  const first = await person({ args: [`--disable-extensions-except=${folder}`, `--load-extension=${folder}`], browser })
  const context = first.context()
  const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent('serviceworker'))
  const home = new URL('/', worker.url()).href
  // Installed, it asks at once what it may ask; in a tab that is empty, if there is one.
  const asking = () => context.pages().find((one) => one.url() === `${home}options.html`)
  await eventually(() => asking() !== undefined, true)
  const options = asking()
  await options.locator('input[name=ask]').first().waitFor()
  const page = options === first ? await opened(context) : first
  /** What the toolbar says of the page. It is asked of the browser, as the page cannot. */
  const toolbar = (one = page) =>
    options.evaluate(async (url) => {
      const tabs = await chrome.tabs.query({})
      const tab = tabs.find((other) => other.url === url)
      return { text: await chrome.action.getBadgeText({ tabId: tab.id }), title: await chrome.action.getTitle({ tabId: tab.id }), id: tab.id }
    }, one.url())
  const popup = async (one = page) => {
    const { id } = await toolbar(one)
    const shown = await opened(context)
    await shown.goto(`${home}popup.html?tab=${id}`)
    await shown.locator('h1').waitFor()
    return shown
  }
  const forget = () => options.evaluate(async () => {
    await chrome.storage.local.clear()
    for (const name of Object.keys(await chrome.storage.session.get(null))) if (!name.startsWith('tab:')) await chrome.storage.session.remove(name)
  })
  return { page, context, options, home, toolbar, popup, forget }
}

/** What the mark says: its root is closed to the page, and open to the debugger. */
async function mark(page) {
  const session = await page.context().newCDPSession(page)
  try {
    const { root } = await session.send('DOM.getDocument', { depth: -1, pierce: true })
    const find = (node) => (node.nodeName === 'KEZ-MARK' ? node : [...(node.children ?? []), ...(node.shadowRoots ?? [])].map(find).find(Boolean))
    const text = (node) => (node === undefined ? undefined : node.nodeValue || [...(node.shadowRoots ?? []), ...(node.children ?? [])].map(text).join(''))
    return text(find(root))
  } finally {
    await session.detach()
  }
}

async function eventually(what, wanted, ms = 20_000) {
  const end = Date.now() + ms
  for (;;) {
    const value = await what()
    if (value === wanted) return
    if (Date.now() > end) assert.equal(value, wanted)
    await new Promise((done) => setTimeout(done, 25))
  }
}
/** Which hosts of the world were asked; the browser's own errands are to others. */
const asked = () => [...new Set(tls.every.map(({ host }) => host).filter((host) => routes.has(host)))].sort()
const marked = (page, wanted, ms) => eventually(() => mark(page), wanted, ms)

// One person on every platform.
const { person: alice, npub, places } = await everywhere('alice')
await github('nobody', null)

const chromium = await withExtension(ALL)
const { page, context, options, toolbar, popup, forget } = chromium

part('a mark beside the name on every site, as soon as its platforms have answered', async () => {
  // The worker has been running for people who browse; and once after its start.
  const took = []
  for (const place of places) {
    await forget()
    await page.goto(place, { waitUntil: 'commit' })
    const before = performance.now()
    await page.locator('kez-mark').waitFor({ state: 'attached' })
    took.push(performance.now() - before)
    await marked(page, '✓ 5 of 5 verified')
    assert.equal((await toolbar()).text, '✓', place)
    // Known by now: the mark comes from what is remembered, and nobody is asked.
    tls.every.splice(0)
    await page.reload({ waitUntil: 'commit' })
    const again = performance.now()
    await page.locator('kez-mark').waitFor({ state: 'attached' })
    console.error(`${place}: mark after ${Math.round(took.at(-1))} ms, known ${Math.round(performance.now() - again)} ms`)
    assert.deepEqual(asked(), [new URL(place).host])
  }
  took.sort((a, b) => a - b)
  assert.ok(took[Math.floor(took.length / 2)] <= 1500, `median ${took}`)
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  await picture(page, 'extension-github')
  await page.goto('https://bsky.app/profile/alice.test')
  await marked(page, '✓ 5 of 5 verified')
  await picture(page, 'extension-bluesky')
  // One account is known by another of the same person.
  await forget()
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  tls.every.splice(0)
  await page.goto('https://bsky.app/profile/alice.test')
  await marked(page, '✓ 5 of 5 verified')
  assert.deepEqual(asked(), ['bsky.app'])
  calm(page)
})

part('nothing where there is nothing', async () => {
  for (const place of ['https://github.com/nobody', 'https://github.com/nobody-at-all', 'https://github.com/alice/repository', 'https://github.com/']) {
    await page.goto(place)
    await eventually(async () => (await toolbar()).title.includes('Nothing of KEZ') || (await toolbar()).title.includes('No profile'), true)
    assert.equal(await mark(page), undefined, place)
    assert.equal((await toolbar()).text, '')
  }
})

part('another page without loading it, and a site that was redesigned', async () => {
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  await page.evaluate(() => {
    history.pushState({}, '', '/nobody')
    document.querySelector('.vcard-username').textContent = 'nobody'
  })
  await marked(page, undefined)
  await eventually(async () => (await toolbar()).text, '')
  // The address is hers again, the name is not: no mark beside somebody else.
  await page.evaluate(() => history.pushState({}, '', '/alice'))
  await page.evaluate(() => document.querySelector('main').append(document.createElement('p')))
  await eventually(async () => (await toolbar()).text, '✓')
  assert.equal(await mark(page), undefined)
  await page.evaluate(() => (document.querySelector('.vcard-username').textContent = 'alice'))
  await marked(page, '✓ 5 of 5 verified')
  kinds.set('github.com', 'strange')
  await page.goto('https://github.com/alice')
  await eventually(async () => (await toolbar()).text, '✓')
  assert.equal(await mark(page), undefined)
  kinds.set('github.com', 'github')
})

part('the popup has all of it', async () => {
  await forget()
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  const shown = await popup()
  await shown.getByText('5 of 5 verified').waitFor()
  assert.match(await shown.locator('h1').textContent(), /github:alice/)
  for (const subject of ['dns:example.com', 'bluesky:alice.test', 'ap:jason@social.example', `nostr:${npub}`]) {
    await shown.getByRole('rowheader', { name: subject }).waitFor()
  }
  await accessible(shown, 'popup')
  await picture(shown, 'extension-popup')
  for (const summary of await shown.locator('summary').all()) await summary.click()
  await shown.getByText('Text that the platform showed').first().waitFor()
  // What left the browser is what the servers got.
  const told = await shown.locator('details ul code').allTextContents()
  assert.ok(told.some((place) => place.startsWith('https://api.github.com/')), told.join())
  assert.ok(told.some((place) => place.startsWith('https://sig.example/')), told.join())
  await accessible(shown, 'popup, everything open')
  assert.match(await shown.getByRole('link', { name: 'Message' }).getAttribute('href'), /^http:\/\/\S+\/chat\?with=ed25519/)
  await shown.emulateMedia({ colorScheme: 'dark' })
  await accessible(shown, 'popup, dark')
  await picture(shown, 'extension-popup-dark')
  await shown.setViewportSize({ width: 360, height: 600 })
  const scrollWidth = await shown.evaluate(() => document.documentElement.scrollWidth)
  assert.ok(scrollWidth <= 360, `${scrollWidth}`)
  // Again, at once.
  tls.every.splice(0)
  await shown.getByRole('button', { name: 'Check again' }).click()
  await eventually(async () => tls.every.some(({ host }) => host === 'api.github.com'), true)
  await shown.getByText('5 of 5 verified').waitFor()
  calm(page)
  await shown.close()
})

/** Goes to somebody's page, and sees what is said there, and on the toolbar. */
async function sees(login, text, sign) {
  await page.goto(`https://github.com/${login}`)
  await marked(page, text)
  assert.equal((await toolbar()).text, sign, login)
}

part('what is wrong is shown as what it is', async () => {
  const [mallory, ...others] = await troubles('', alice, 'github:alice', files)
  await sees(mallory.login, mallory.text, '!')
  const shown = await popup()
  await shown.getByText('wrong_owner').first().waitFor()
  // Nothing of hers is said to be his.
  assert.equal(await shown.getByText('The same person controls').count(), 0)
  assert.equal(await shown.getByRole('link', { name: 'Message' }).count(), 0)
  await picture(shown, 'extension-popup-contradicted')
  await accessible(shown, 'popup, contradicted')
  await shown.close()

  for (const { login, text } of others) await sees(login, text, '!')
})

part('an account that two owners prove is not shown as verified, and a renamed one says so', async () => {
  const owners = [new Somebody(), new Somebody()]
  const texts = []
  for (const owner of owners) {
    texts.push((await owner.claim('github:twice')).encode('compact'))
    await owner.publish()
  }
  await github('twice', texts.join('\n\n'))
  await sees('twice', '⚠ two owners prove this account', '!')
  const shown = await popup()
  for (const { key } of owners) await shown.locator(`li a[href$="/${key.identity}"]`).waitFor()
  assert.equal(await shown.getByText('The same person controls').count(), 0)
  assert.equal(await shown.getByRole('link', { name: 'Message' }).count(), 0)
  await accessible(shown, 'popup, two owners')
  await picture(shown, 'extension-popup-contested')
  await shown.close()

  const jay = new Somebody()
  const claim = await jay.claim('github:jay', { account: '88001' })
  await jay.publish()
  await wish('gist', { message: { op: 'user', login: 'jayne', id: 88_001 } })
  await wish('gist', { message: { op: 'gist', login: 'jayne', files: { 'kez.md': claim.encode('markdown') } } })
  await sees('jayne', '✓ 1 of 1 verified · renamed since', '✓')
})

part('what cannot be asked now is said with when it can, and is silent on pages of strangers', async () => {
  const rose = new Somebody()
  await github('rose', (await rose.claim('github:rose')).encode('markdown'))
  await rose.publish()
  await sees('rose', '✓ 1 of 1 verified', '✓')
  await github('somebody', null)
  await wish('gist', { message: { op: 'limit', remaining: 0, kind: '403' } })
  // Rose was seen before, and her page says that it cannot be checked; others' pages say nothing.
  await options.evaluate(() => chrome.storage.local.remove(['known:github:rose', 'who:github:rose']))
  await page.goto('https://github.com/rose')
  await eventually(async () => /^… cannot be checked before \d/.test(await mark(page)), true)
  assert.equal((await toolbar()).text, '')
  assert.match((await toolbar()).title, /cannot be checked before/)
  await page.goto('https://github.com/somebody')
  await eventually(async () => /cannot be checked before/.test((await toolbar()).title), true)
  assert.equal(await mark(page), undefined)
  const shown = await popup()
  await shown.getByText('cannot be checked before').first().waitFor()
  await shown.close()
  // Until then it is not asked again, whoever's page it is.
  tls.every.splice(0)
  await page.goto('https://github.com/nobody-else')
  await eventually(async () => /cannot be checked before/.test((await toolbar()).title), true)
  assert.deepEqual(asked(), ['github.com'])
  await options.evaluate(() => chrome.storage.session.remove('wait:github'))
  await wish('gist', { message: { op: 'limit', remaining: 5000, kind: '403' } })
  // No way to the platform at all.
  const api = routes.get('api.github.com')
  routes.set('api.github.com', 'http://127.0.0.1:9')
  await page.goto('https://github.com/rose')
  await marked(page, '… cannot be checked now')
  routes.set('api.github.com', api)
  const again = await popup()
  await again.getByRole('button', { name: /^Check/ }).click()
  await again.getByText('1 of 1 verified').waitFor()
  await again.close()
  await marked(page, '✓ 1 of 1 verified')
})

part('what has changed is told until one has seen it', async () => {
  const cleo = new Somebody()
  await github('cleo', (await cleo.claim('github:cleo')).encode('markdown'))
  await cleo.publish()
  await sees('cleo', '✓ 1 of 1 verified', '✓')
  const next = new Somebody()
  await cleo.append({ type: 'rotate', to: next.key.identity, reason: 'retired' }, [cleo.key, next.key])
  await cleo.publish()
  const shown = await popup()
  await shown.getByRole('button', { name: 'Check again' }).click()
  await shown.getByText('changed since you last looked').waitFor()
  await shown.getByText('The key was changed.').waitFor()
  await accessible(shown, 'popup, changed')
  await picture(shown, 'extension-popup-changed')
  await marked(page, '↻ changed since you last looked')
  assert.equal((await toolbar()).text, '!')
  await page.reload()
  await marked(page, '↻ changed since you last looked')
  await shown.getByRole('button', { name: 'I know' }).click()
  await shown.getByText('1 of 1 verified').waitFor()
  await marked(page, '✓ 1 of 1 verified')
  // And withdrawn, which is a change, and then how it is.
  await cleo.append({ type: 'revoke', subject: 'github:cleo', reason: 'retired' }, [next.key])
  await cleo.publish()
  await shown.getByRole('button', { name: 'Check again' }).click()
  await shown.getByText('No longer proven: github:cleo.').waitFor()
  await shown.getByRole('button', { name: 'I know' }).click()
  await shown.getByText('withdrawn by its owner').waitFor()
  await marked(page, '✕ withdrawn by its owner')
  // Somebody else's proof in the place of one's own.
  const dora = [new Somebody(), new Somebody()]
  await github('dora', (await dora[0].claim('github:dora')).encode('markdown'))
  await dora[0].publish()
  await sees('dora', '✓ 1 of 1 verified', '✓')
  await shown.close()
  await wish('gist', { message: { op: 'gist', login: 'dora', files: { 'kez.md': (await dora[1].claim('github:dora')).encode('markdown') } } })
  await dora[1].publish()
  await dora[0].revoke('github:dora')
  await dora[0].publish()
  const second = await popup()
  await second.getByRole('button', { name: 'Check again' }).click()
  await second.getByText(`It belonged to another identity: ${dora[0].key.identity}.`).waitFor()
  await second.close()
})

part('a storage that takes nothing more costs no verdict, and is told', async () => {
  await forget()
  await page.goto('https://github.com/nobody')
  const [worker] = context.serviceWorkers()
  await worker.evaluate(() => {
    const full = () => Promise.reject(new Error('QUOTA_BYTES quota exceeded'))
    Object.assign(chrome.storage.local, { set: full })
  })
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  const shown = await popup()
  await shown.getByText('This could not be remembered').waitFor()
  await shown.close()
  const session = await context.newCDPSession(options)
  await session.send('ServiceWorker.enable')
  await session.send('ServiceWorker.stopAllWorkers')
  await session.detach()
})

part('the worker may end at any time', async () => {
  await forget()
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  const session = await context.newCDPSession(options)
  await session.send('ServiceWorker.enable')
  await session.send('ServiceWorker.stopAllWorkers')
  const before = performance.now()
  await page.goto('https://github.com/nobody')
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  console.error(`a stopped worker was back after ${Math.round(performance.now() - before)} ms`)
  await session.send('ServiceWorker.stopAllWorkers')
  const shown = await popup()
  await shown.getByText('5 of 5 verified').waitFor()
  await shown.getByRole('button', { name: 'Check again' }).click()
  await shown.getByText('5 of 5 verified').waitFor()
  await shown.close()
  // Ended in the middle of a check, which begins anew.
  await forget()
  tls.every.splice(0)
  await page.goto('https://github.com/alice', { waitUntil: 'commit' })
  await eventually(async () => tls.every.some(({ host }) => host === 'api.github.com'), true)
  await session.send('ServiceWorker.stopAllWorkers')
  await marked(page, '✓ 5 of 5 verified')
})

part('a platform that does not answer at once is asked again', async () => {
  await forget()
  tls.every.splice(0)
  await wish('gist', { message: { op: 'down', status: 503 } })
  await page.goto('https://github.com/alice')
  await eventually(async () => tls.every.some(({ host }) => host === 'api.github.com'), true)
  await wish('gist', { message: { op: 'down', status: 0 } })
  await marked(page, '✓ 5 of 5 verified')
})

part('a hostile page gains nothing', async () => {
  await page.goto('https://github.com/mallory')
  await marked(page, '✕ contradicted')
  const tabs = context.pages().length
  assert.deepEqual(await page.evaluate(attack, chromium.home), NOTHING)
  assert.deepEqual(page.frames().filter((frame) => frame.url().startsWith(chromium.home)), [])
  // What counts has not moved.
  assert.equal((await toolbar()).text, '!')
  assert.match((await toolbar()).title, /^github:mallory: contradicted/)
  assert.equal(context.pages().length, tabs)
  const shown = await popup()
  assert.match(await shown.locator('h1').textContent(), /github:mallory/)
  await shown.close()
  // It takes the mark away again and again, and the browser lives.
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  assert.ok((await page.evaluate(takeAway)) <= 16)
  assert.equal((await toolbar()).text, '✓')
})

part('a click on the mark opens the popup', async () => {
  await page.goto('https://github.com/alice')
  await marked(page, '✓ 5 of 5 verified')
  await page.bringToFront()
  const box = await page.locator('kez-mark').boundingBox()
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2)
  const popups = () => options.evaluate(() => chrome.runtime.getContexts({ contextTypes: ['POPUP'] }))
  await eventually(async () => (await popups()).length, 1)
  // It is no page of Playwright's; the debugger reaches it.
  const session = await context.browser().newBrowserCDPSession()
  const { targetInfos } = await session.send('Target.getTargets')
  const { targetId } = targetInfos.find(({ url }) => url.endsWith('/popup.html'))
  const { sessionId } = await session.send('Target.attachToTarget', { targetId, flatten: false })
  const ask = async (method, params) => {
    const answering = new Promise((done) => session.on('Target.receivedMessageFromTarget', ({ message }) => done(JSON.parse(message).result)))
    await session.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id: 1, method, params }) })
    return answering
  }
  const seen = async () => (await ask('Runtime.evaluate', { expression: 'JSON.stringify([innerWidth, document.body.innerText])' })).result.value
  await eventually(async () => (await seen()).includes('5 of 5 verified'), true)
  const [width] = JSON.parse(await seen())
  assert.ok(width >= 640 && width <= 800, `${width}`)
  const { data } = await ask('Page.captureScreenshot', { format: 'png' })
  writeFileSync(join(pictures, 'extension-popup-real.png'), Buffer.from(data, 'base64'))
  await session.detach()
})

part('sites, sources and what is remembered are the user’s', async () => {
  await options.bringToFront()
  await options.reload()
  await accessible(options, 'options')
  await picture(options, 'extension-options')
  await looksAsBefore(options, 'extension-options', ['#app'])
  await options.emulateMedia({ colorScheme: 'dark' })
  await accessible(options, 'options, dark')
  await picture(options, 'extension-options-dark')
  await looksAsBefore(options, 'extension-options-dark', ['#app'])
  // Off on one site, for good.
  await options.getByLabel('github.com', { exact: true }).uncheck()
  await page.goto('https://github.com/alice')
  await eventually(async () => (await toolbar()).title.includes('No profile'), true)
  assert.equal(await mark(page), undefined)
  const off = await popup()
  await off.getByText('You have switched KEZ off on this site.').waitFor()
  await off.getByLabel('Look at profiles on github.com').check()
  await marked(page, '✓ 5 of 5 verified')
  await off.close()
  // Sources: refused where they are none.
  await options.locator('#relays').fill('https://not-a-relay.example')
  await options.getByRole('button', { name: 'Save' }).click()
  await options.getByText('Not an address of the right kind: https://not-a-relay.example').waitFor()
  await options.locator('#relays').fill('wss://nos.lol\n')
  await options.getByRole('button', { name: 'Save' }).click()
  await options.getByText('Saved', { exact: true }).waitFor()
  tls.every.splice(0)
  const shown = await popup()
  await shown.getByRole('button', { name: 'Check again' }).click()
  await eventually(async () => tls.every.some(({ host }) => host === 'nos.lol'), true)
  await shown.getByText('5 of 5 verified').waitFor()
  assert.deepEqual(tls.every.filter(({ host }) => /relay/.test(host)), [])
  await shown.close()
  await options.locator('#site').fill('no site')
  await options.getByRole('button', { name: 'Add' }).click()
  await options.getByText('That is no name of a site.').waitFor()
  // Whom one has seen, taken along.
  await options.reload()
  const file = async () => {
    const saving = options.waitForEvent('download')
    await options.getByRole('button', { name: 'Export' }).click()
    return readFileSync(await (await saving).path(), 'utf8')
  }
  const text = await file()
  const { pins } = JSON.parse(text)
  assert.equal(pins['github:alice'].primary, alice.key.identity)
  await options.getByRole('button', { name: 'Forget whom I have seen' }).click()
  await options.getByText('Then no change to them would be noticed').waitFor()
  await options.locator('.note').getByRole('button', { name: 'Forget whom I have seen' }).click()
  await options.getByText('Forgotten.').waitFor()
  assert.deepEqual(JSON.parse(await file()).pins, {})
  const take = (content) => options.locator('input[type=file]').setInputFiles({ name: 'kez-pins.json', mimeType: 'application/json', buffer: Buffer.from(content) })
  await take('{"format":"kez.pins/1","pins":{"github:x":{"primary":7}}}')
  await options.getByText('That is not a file of an export.').waitFor()
  await take(text)
  await options.getByText(`${Object.keys(pins).length} added, 0 were here already, 0 differ`).waitFor()
  await take(text.replace(alice.key.identity, `ed25519:${'ab'.repeat(32)}`))
  await options.getByText(/0 added, \d+ were here already, 1 differ/).waitFor()
  await options.getByRole('button', { name: 'Forget what was checked' }).click()
  await options.getByText('Forgotten.').waitFor()
  await options.getByText(/were checked: 0\./).waitFor()
})

part('by itself it asks the platform, and others only when one clicks', async () => {
  const fresh = await withExtension(PLATFORM)
  const visit = async (place) => {
    tls.every.splice(0)
    await fresh.page.goto(place)
  }
  await visit('https://github.com/alice')
  await marked(fresh.page, '… has a proof, click to check')
  assert.deepEqual(asked(), ['api.github.com', 'github.com'])
  const shown = await fresh.popup()
  await shown.getByText('has a proof, click to check').waitFor()
  await shown.getByText('Only the platform itself was asked.').waitFor()
  await accessible(shown, 'popup, not checked')
  await picture(shown, 'extension-popup-unchecked')
  await shown.getByRole('button', { name: /^Check/ }).click()
  await shown.getByText('5 of 5 verified').waitFor()
  await marked(fresh.page, '✓ 5 of 5 verified')
  assert.ok(asked().includes('sig.example'))
  // From then on she is known wherever she is, and nobody is asked.
  await visit('https://bsky.app/profile/alice.test')
  await marked(fresh.page, '✓ 5 of 5 verified')
  assert.deepEqual(asked(), ['bsky.app'])
  await shown.close()
  await fresh.forget()
  await visit('https://bsky.app/profile/alice.test')
  await marked(fresh.page, '… has a proof, click to check')
  assert.deepEqual(asked(), ['bsky.app', 'plc.directory', 'public.api.bsky.app'])
  await visit('https://mastodon.social/@jason@social.example')
  await marked(fresh.page, '… has a proof, click to check')
  assert.deepEqual(asked(), ['mastodon.social', 'social.example'])
  // A name server is not the site that one looks at.
  await visit('https://example.com/')
  await eventually(async () => (await fresh.toolbar()).title.includes('Nobody has been asked'), true)
  assert.deepEqual(asked(), ['example.com'])
  // And nobody at all, if that is wanted.
  await fresh.options.bringToFront()
  await fresh.options.getByLabel('nobody, until I click').check()
  await visit('https://github.com/mallory')
  await eventually(async () => (await fresh.toolbar()).title.includes('Nobody has been asked'), true)
  assert.deepEqual(asked(), ['github.com'])
  assert.equal(await mark(fresh.page), undefined)
  calm(fresh.page)
  await fresh.context.close()
})

part('in Arabic, from right to left', async () => {
  const fresh = await withExtension(ARABIC)
  await fresh.options.getByRole('heading', { name: 'المواقع' }).waitFor()
  assert.equal(await fresh.options.evaluate(() => document.documentElement.dir), 'rtl')
  await accessible(fresh.options, 'options, Arabic')
  await picture(fresh.options, 'extension-options-ar')
  await fresh.page.goto('https://github.com/alice')
  await marked(fresh.page, '✓ تم التحقق من 5 من أصل 5')
  await picture(fresh.page, 'extension-github-ar')
  const shown = await fresh.popup()
  await shown.getByText('تم التحقق من 5 من أصل 5').waitFor()
  await accessible(shown, 'popup, Arabic')
  await picture(shown, 'extension-popup-ar')
  await fresh.context.close()
})
