// What the app shows beside a status: several owners, another name, another place, and a history that was not checked.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after } from 'node:test'
import { github, Somebody } from './people.mjs'
import { accessible, app, calm, everybodyLeaves, part, person, picture, routes, wish } from './world.mjs'

/** EMULATED: fediverse servers whose accounts have moved, and whose names are at another host. */
const actors = new Map()
const fediverse = createServer((request, response) => {
  const { host } = request.headers
  const { pathname, searchParams } = new URL(request.url, `https://${host}`)
  response.setHeader('access-control-allow-origin', '*')
  const user = /^acct:([^@]*)@/.exec(searchParams.get('resource') ?? '')?.[1]
  if (pathname === '/.well-known/webfinger' && actors.has(user)) {
    const href = `https://moved.example/users/${user}`
    response.setHeader('content-type', 'application/jrd+json')
    return response.end(JSON.stringify({ subject: `acct:${user}@moved.example`, links: [{ rel: 'self', type: 'application/activity+json', href }] }))
  }
  if (pathname === '/.well-known/webfinger' && host === 'moved.example') {
    return response.writeHead(302, { location: `https://www.moved.example${request.url}` }).end()
  }
  const actor = actors.get(pathname.replace('/users/', ''))
  response.setHeader('content-type', 'application/activity+json')
  return actor === undefined ? response.writeHead(404).end() : response.end(JSON.stringify(actor))
})
await new Promise((done) => fediverse.listen(0, '127.0.0.1', done))
for (const host of ['moved.example', 'www.moved.example']) routes.set(host, `http://127.0.0.1:${fediverse.address().port}`)

after(async () => {
  await everybodyLeaves()
  fediverse.close()
})
const page = await person()
const row = (subject) => page.locator('tbody', { hasText: subject })

/** An owner who has other accounts besides, so that people can tell who it is. */
async function owner(account, other) {
  const one = new Somebody()
  const text = (await one.claim(account)).encode('compact')
  await github(other, (await one.claim(`github:${other}`)).encode('markdown'))
  await one.publish()
  return { key: one.key.identity, text }
}

part('an account that two owners prove names both, and is not shown as verified', async () => {
  const account = 'github:shared'
  const [one, two] = [await owner(account, 'first'), await owner(account, 'second')]
  await github('shared', `${one.text}\n\n${two.text}\n`)
  for (const look of [{}, { locale: 'ar' }]) {
    const reader = await person({ browser: { viewport: { width: 320, height: 640 }, ...look } })
    await reader.goto(`${app}/${account}`)
    for (const { key } of [one, two]) await reader.locator(`main li a[href="/${key}"]`).waitFor()
    await accessible(reader, 'two owners')
    const { scrollWidth, clientWidth } = await reader.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, clientWidth: innerWidth }))
    assert.ok(scrollWidth <= clientWidth, `${scrollWidth} wide on ${clientWidth}`)
    await picture(reader, `contested${look.locale === undefined ? '-narrow' : '-arabic'}`)
    await reader.context().close()
  }
  await page.goto(`${app}/${account}`)
  await page.getByText('Two owners prove this account').first().waitFor()
  await page.locator('p[role=status]', { hasText: 'Checked' }).waitFor()
  assert.equal(await page.locator('.status.good', { hasText: 'of' }).count(), 0)
  assert.equal(await page.getByText('The same person controls').count(), 0)
  await row(account).getByText('more than one owner').waitFor()
  await accessible(page, 'two owners')
  await picture(page, 'contested')
  // The page of each owner by the key says it, too, and leads back to all of them.
  await page.locator(`main li a[href="/${two.key}"]`).click()
  await page.waitForURL(`${app}/${two.key}`)
  await page.getByText('1 of 2 verified').first().waitFor()
  await row('github:second').locator('.status.good').waitFor()
  await row(account).getByText('Another owner has a valid proof of this account too.').waitFor()
  await picture(page, 'contested-owner')
  await row(account).getByRole('link', { name: `All owners of ${account}` }).click()
  await page.waitForURL(`${app}/${account}`)
  await page.locator(`main li a[href="/${one.key}"]`).waitFor()
  calm(page)
})

part('a renamed account is shown with both names', async () => {
  const one = new Somebody()
  const claim = await one.claim('github:before', { account: '77001' })
  await one.publish()
  await wish('gist', { message: { op: 'user', login: 'afterwards', id: 77_001 } })
  await wish('gist', { message: { op: 'gist', login: 'afterwards', files: { 'kez.md': claim.encode('markdown') } } })
  await page.goto(`${app}/github:afterwards`)
  await page.getByText('The proof names github:before. The platform reports that this is the same account, now called github:afterwards.').waitFor()
  await page.locator('p[role=status]').getByText('1 of 1 verified').waitFor()
  await accessible(page, 'renamed')
  calm(page)
})

part('where no place of the history is known, that is said and not hidden', async () => {
  const one = new Somebody()
  await github('alone', (await one.claim('github:alone', { list: false, sources: undefined })).encode('markdown'))
  await page.goto(`${app}/settings`)
  await page.evaluate(() => localStorage.setItem('kez:settings', JSON.stringify({ sigServers: [], relays: [] })))
  await page.goto(`${app}/github:alone`)
  await page.locator('p[role=status]').getByText('1 of 1 verified').waitFor()
  await page.locator('p[role=status]').getByText('Withdrawals not checked').waitFor()
  await row('github:alone').locator('p.note', { hasText: 'Not checked: whether the owner has withdrawn this.' }).waitFor()
  await page.getByText('No place that has the sigchain was asked').waitFor()
  await accessible(page, 'unchecked')
  await picture(page, 'unchecked')
  await page.evaluate(() => localStorage.removeItem('kez:settings'))
  calm(page)
})

part('an account that has moved has a link to where, and a redirect says from where to where', async () => {
  const one = new Somebody()
  const summary = (await one.claim('ap:ann@moved.example')).encode('pointer')
  await one.publish()
  const id = 'https://moved.example/users/ann'
  const actor = (more) => ({ id, type: 'Person', preferredUsername: 'ann', name: 'Ann', summary, attachment: [], ...more })
  actors.set('ann', actor({ movedTo: 'https://social.example/jason' }))
  await page.goto(`${app}/ap:ann@moved.example`)
  await page.getByText('The owner says that this account has moved to').waitFor()
  const link = page.getByRole('link', { name: 'https://social.example/jason' })
  assert.equal(await link.getAttribute('href'), 'https://social.example/jason')
  assert.equal(page.url(), `${app}/ap:ann@moved.example`)
  await accessible(page, 'moved')
  // What is no address of the web is no link.
  actors.set('ann', actor({ movedTo: 'javascript:window.hit=1' }))
  await page.reload()
  await page.getByText('javascript:window.hit=1').first().waitFor()
  assert.equal(await page.locator('a[href^="javascript:"]').count(), 0)
  await page.goto(`${app}/ap:gone@moved.example`)
  await page.getByText('no such account').first().waitFor()
  await page.locator('tbody summary').first().click()
  await page.getByText('moved.example redirected to https://www.moved.example/.well-known/webfinger').waitFor()
  calm(page)
})

part('a failure names the server and the cause', async () => {
  const api = routes.get('api.github.com')
  routes.set('api.github.com', 'http://127.0.0.1:9')
  await page.goto(`${app}/github:shared`)
  await page.getByText(/api\.github\.com.*No connection to the server could be made/).waitFor()
  routes.set('api.github.com', api)
  await page.context().close()
})
