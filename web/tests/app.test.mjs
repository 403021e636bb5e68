// A whole life in the app: real browsers, real servers. `cargo xtask web` runs it.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after } from 'node:test'
import { keyFile } from '../../npm/dist/node.js'
import { accessible, app, asked, calm, chapter, everybodyLeaves, opened, person, picture, wish } from './world.mjs'

after(everybodyLeaves)
const alice = await person()
const bob = await person()
let identity

const click = (page, name) => page.getByRole('button', { name, exact: true }).click()

chapter('the front page takes anything, and refuses what is nothing', async () => {
  await alice.goto(app)
  await alice.getByRole('heading', { level: 1 }).waitFor()
  await accessible(alice, 'front page')
  await picture(alice, 'home')
  await alice.getByLabel('Handle, address').fill('no such thing')
  await click(alice, 'Verify')
  await alice.getByRole('alert').waitFor()
  await alice.getByLabel('Handle, address').fill('https://github.com/Nobody-Here/')
  await click(alice, 'Verify')
  await alice.waitForURL(`${app}/github:nobody-here`)
  await alice.getByText('no such account').first().waitFor()
  await accessible(alice, 'nobody')
  // Nobody was asked but GitHub.
  assert.deepEqual([...new Set(asked())], ['api.github.com'])
  calm(alice)
})

chapter('an identity is made without a word of keys', async () => {
  await alice.goto(`${app}/prove`)
  await click(alice, 'Make an identity')
  await alice.getByRole('heading', { name: 'Which account?' }).waitFor()
  await accessible(alice, 'prove')
  await alice.goto(`${app}/keys`)
  identity = await alice.locator('dd code').first().textContent()
  assert.match(identity, /^ed25519:[0-9a-f]{64}$/)
  calm(alice)
})

/** Makes a proof and gives its line; the rest is done on the platform. */
async function prove(page, service, account, at = app) {
  await page.goto(`${at}/prove/${service}`)
  await page.locator('#account').fill(account)
  await click(page, 'Make the proof')
  await click(page, 'Sign it')
  await page.locator('#proof').waitFor()
  return page.locator('#proof').textContent()
}

async function found(page, service) {
  await click(page, 'Check now')
  await listed(page, service)
}

async function listed(page, service) {
  await page.getByText('Found and verified.').waitFor()
  await page.getByText('It is on your sigchain, and published.').waitFor()
  calm(page, service)
}

chapter('GitHub: leaving the page loses nothing, and what was broken is told', async () => {
  await wish('gist', { message: { op: 'user', login: 'alice', id: 4711 } })
  await alice.goto(`${app}/prove/github`)
  await alice.locator('#account').fill('nobody-at-all')
  await click(alice, 'Make the proof')
  await alice.getByText('There is no such account.').waitFor()
  const line = await prove(alice, 'github', 'alice')
  assert.match(line, /^kez:z1:\S+$/)
  await click(alice, 'Check now')
  await alice.getByText('Not there yet.').waitFor()
  await accessible(alice, 'a proof that waits')
  await picture(alice, 'prove-waiting')
  // The copy button gives the very line.
  await click(alice, 'Copy')
  assert.equal(await alice.evaluate(() => navigator.clipboard.readText()), line)
  await alice.getByText('I have posted it, and it is not found').click()
  await alice.locator('#pasted').fill(line.slice(0, -4))
  await click(alice, 'Check this')
  await alice.getByText('This is not the line').waitFor()
  await alice.locator('#pasted').fill(` ${line}\n`)
  await click(alice, 'Check this')
  await alice.getByText('The text is whole.').waitFor()
  // Away, and back.
  await alice.goto(`${app}/prove`)
  await alice.getByRole('link', { name: 'github:alice' }).click()
  assert.equal(await alice.locator('#proof').textContent(), line)
  await wish('gist', { message: { op: 'gist', login: 'alice', files: { 'kez.md': `my proof:\n\n${line}\n` } } })
  await found(alice, 'github')
})

chapter('a domain, Bluesky, the fediverse, and nostr by an extension', async () => {
  const record = await prove(alice, 'dns', 'https://example.com/')
  await click(alice, 'Check now')
  await alice.getByText('Your resolver keeps that answer, and asks afresh').waitFor()
  await wish('txt', { zone: 'example.com', name: '_kez.example.com', value: record })
  await found(alice, 'dns')
  const pointer = await prove(alice, 'bluesky', '@alice.test')
  assert.equal(pointer, `kez:${identity}`)
  await wish('bluesky', { handle: 'alice.test', value: pointer })
  await found(alice, 'bluesky')
  await wish('field', { value: await prove(alice, 'ap', '@jason@social.example') })
  await found(alice, 'ap')
  await prove(alice, 'nostr', alice.nostr.slice('nostr:'.length))
  await click(alice, 'Publish with my nostr extension')
  await listed(alice, 'nostr')
})

chapter('a stranger verifies her in another browser', async () => {
  await bob.goto(app)
  await bob.getByLabel('Handle, address').fill('@alice.test')
  const before = performance.now()
  await click(bob, 'Verify')
  await bob.getByText('5 of 5 verified').waitFor()
  console.error(`whole identity of five verified in ${Math.round(performance.now() - before)} ms`)
  for (const subject of ['github:alice', 'dns:example.com', 'bluesky:alice.test', 'ap:jason@social.example']) {
    await bob.getByRole('rowheader', { name: subject }).waitFor()
  }
  await accessible(bob, 'a whole identity')
  await picture(bob, 'verified')
  // Details, the proof as the platform showed it, and the sigchain over time.
  for (const summary of await bob.locator('summary').all()) await summary.click()
  await bob.getByText('Text that the platform showed').first().waitFor()
  await bob.getByLabel('The sigchain over time').waitFor()
  await bob.locator('#slider').fill('1')
  await bob.getByText(/After event 1 of/).waitFor()
  await accessible(bob, 'everything open')
  await picture(bob, 'verified-open')
  calm(bob)
})

chapter('a passphrase locks the key, and only it unlocks', async () => {
  await alice.goto(`${app}/keys`)
  await accessible(alice, 'keys')
  await picture(alice, 'keys')
  const protect = async (one, other) => {
    await alice.locator('#new-passphrase').fill(one)
    await alice.locator('#new-passphrase-again').fill(other)
    await click(alice, 'Set the passphrase')
  }
  await protect('short', 'short')
  await alice.getByText('Take at least 8 characters.').waitFor()
  await protect('correct horse', 'correct hors')
  await alice.getByText('The two are not the same.').waitFor()
  await protect('correct horse', 'correct horse')
  await alice.getByText('A passphrase protects the key in this browser.').waitFor()
  await click(alice, 'Lock now')
  await alice.locator('#passphrase').fill('battery staple')
  await click(alice, 'Unlock')
  await alice.getByText('That is not the passphrase.').waitFor()
  await accessible(alice, 'locked')
  await alice.reload()
  await alice.locator('#passphrase').fill('correct horse')
  await click(alice, 'Unlock')
  await alice.getByText('A passphrase protects the key in this browser.').waitFor()
  calm(alice)
})

chapter('a passkey unlocks besides', async () => {
  const session = await alice.context().newCDPSession(alice)
  await session.send('WebAuthn.enable')
  const options = { protocol: 'ctap2', ctap2Version: 'ctap2_1', transport: 'internal', hasResidentKey: true }
  const more = { hasUserVerification: true, hasPrf: true, isUserVerified: true, automaticPresenceSimulation: true }
  await session.send('WebAuthn.addVirtualAuthenticator', { options: { ...options, ...more } })
  await click(alice, 'Unlock with a passkey as well')
  await alice.getByText('A passkey can unlock it too.').waitFor()
  await click(alice, 'Lock now')
  await click(alice, 'Unlock with the passkey')
  await alice.getByText('A passkey can unlock it too.').waitFor()
  calm(alice)
})

chapter('the recovery phrase is tested, and is the key', async () => {
  await alice.getByText('Show the recovery phrase').click()
  await alice.locator('ol.words li').nth(23).waitFor()
  const words = await alice.locator('ol.words li').allTextContents()
  await click(alice, 'I have written them down')
  const answer = async (change) => {
    for (const input of await alice.locator('input[id^=word-]').all()) {
      const place = Number((await input.getAttribute('id')).slice('word-'.length))
      await input.fill(change(words[place]))
    }
    await click(alice, 'Check the words')
  }
  await answer(() => 'zebra')
  await alice.getByText('At least one word is wrong.').waitFor()
  await answer((word) => ` ${word.toUpperCase()} `)
  await alice.getByText('The recovery phrase was tested.').first().waitFor()
  // In another browser the words are the same identity, with its sigchain.
  const other = await person()
  await other.goto(`${app}/keys`)
  await accessible(other, 'keys of nobody')
  await picture(other, 'keys-of-nobody')
  await other.getByRole('link', { name: 'Bring a key' }).click()
  await other.locator('#import-text').fill('these are no words')
  await click(other, 'Import')
  await other.getByText('This is no key that KEZ knows.').waitFor()
  await other.locator('#import-text').fill(words.join(' '))
  await click(other, 'Import')
  await other.getByText('github:alice', { exact: true }).waitFor()
  assert.equal(await other.locator('dd code').first().textContent(), identity)
  calm(other)
  await other.context().close()
  calm(alice)
})

chapter('a key file goes to another browser, and opens with its passphrase alone', async () => {
  await alice.locator('#export-passphrase').fill('staple battery')
  await click(alice, 'Download the key file')
  const [download] = await Promise.all([alice.waitForEvent('download'), alice.getByRole('link', { name: /^kez-.*json/ }).click()])
  const file = await readFile(await download.path(), 'utf8')
  assert.equal(keyFile(file).identity, identity)
  const other = await person()
  await other.goto(`${app}/keys#import`)
  const bring = async (passphrase) => {
    await other.locator('#import-text').fill(file)
    await other.locator('#import-passphrase').fill(passphrase)
    await click(other, 'Import')
  }
  await bring('staple batter')
  await other.getByText('That is not the passphrase.').waitFor()
  await bring('staple battery')
  await other.getByText('github:alice', { exact: true }).waitFor()
  assert.equal(await other.locator('dd code').first().textContent(), identity)
  calm(other)
  await other.context().close()
})

async function unlock(page) {
  await page.locator('#passphrase').fill('correct horse')
  await click(page, 'Unlock')
}

const live = (page) => page.locator('.pill', { hasText: '● live' }).waitFor()

/** Registers somebody with the chat server beside the app. */
async function register(page, handle) {
  await page.goto(`${app}/chat`)
  if (page === alice) await unlock(page)
  await page.locator('#handle').fill(handle)
  await click(page, 'Register')
  await live(page)
}

const say = async (page, text) => {
  await page.locator('#message').fill(text)
  await page.locator('#message').press('Enter')
}
const hears = (page, text) => page.locator('.said', { hasText: text }).waitFor()
const converse = async (page, handle) => {
  await page.locator('#people').fill(handle)
  await click(page, 'Open')
  await page.getByRole('region', { name: handle }).or(page.locator(`section[aria-label="${handle}"]`)).first().waitFor()
}

chapter('they chat, both ways, and each message is there at once', async () => {
  await bob.goto(`${app}/keys`)
  await click(bob, 'Make an identity')
  await bob.locator('dd code').first().waitFor()
  await register(bob, 'bob')
  await register(alice, 'alice')
  await accessible(alice, 'chat without conversations')
  await converse(alice, 'bob')
  await say(alice, 'hello Bob')
  await bob.getByRole('button', { name: /alice/ }).click()
  await hears(bob, 'hello Bob')
  await bob.getByText('Somebody whom you never wrote to.').waitFor()
  await say(bob, 'hello Alice')
  await hears(alice, 'hello Alice')
  /** How long a message takes from the server's answer to the other one's screen, in milliseconds. */
  const onScreen = async (words) => {
    // Both pages are in one process of the test, and so are their clocks.
    const shown = alice.evaluate(
      (text) =>
        new Promise((resolve) => {
          const look = () => document.body.innerText.includes(text) && (watch.disconnect(), resolve(Date.now()))
          const watch = new MutationObserver(look)
          watch.observe(document.body, { childList: true, subtree: true, characterData: true })
        }),
      words,
    )
    const posted = bob.waitForResponse((r) => r.url().endsWith('/v1/messages') && r.request().method() === 'POST').then(() => Date.now())
    await say(bob, words)
    return (await shown) - (await posted)
  }
  // Whatever else the machine does in that second is not the app's: it may try three times.
  let median = Infinity
  for (let round = 0; round < 3 && median >= 100; round += 1) {
    const times = []
    for (let n = 0; n < 10; n += 1) times.push(await onScreen(`message ${round}${n}!`))
    times.sort((a, b) => a - b)
    console.error(`from the server's answer to the other one's screen: ${times.join(', ')} ms`)
    median = times[5]
  }
  assert.ok(median < 100, `${median}`)
  await accessible(alice, 'a conversation')
  await picture(alice, 'chat')
  calm(alice)
  calm(bob)
})

chapter('what is written offline waits, and goes when the network is back', async () => {
  await alice.context().setOffline(true)
  await alice.getByText('You are offline.').waitFor()
  await say(alice, 'written in a tunnel')
  await alice.getByText('1 message waits for the connection').waitFor()
  await accessible(alice, 'offline')
  await say(bob, 'are you there?')
  await alice.context().setOffline(false)
  await hears(alice, 'are you there?')
  await hears(bob, 'written in a tunnel')
  await live(alice)
  calm(bob)
  alice.wrong.splice(0)
})

chapter('the safety number is the same on both sides', async () => {
  const number = async (page) => {
    await page.getByRole('button', { name: 'Safety number' }).click()
    return page.locator('[data-number]').getAttribute('data-number')
  }
  const [hers, his] = [await number(alice), await number(bob)]
  assert.equal(hers, his)
  assert.equal(hers.replace(/\D/g, '').length, 60)
  await alice.locator('#theirs').fill(his.replace(/\d/, (d) => String((Number(d) + 1) % 10)))
  await click(alice, 'Compare')
  await alice.getByText('The numbers differ.').waitFor()
  await alice.locator('#theirs').fill(his)
  await click(alice, 'Compare')
  await alice.getByText('The numbers are the same.').waitFor()
  await accessible(alice, 'safety number')
  await picture(alice, 'safety')
  calm(alice)
})

chapter('a second browser becomes a device by two codes, and hears what is said from then on', async () => {
  const second = await person()
  await second.goto(`${app}/keys`)
  await second.getByText('Join an identity').click()
  const request = await second.locator('#request').textContent()
  await bob.goto(`${app}/keys`)
  await bob.getByText('Link another browser').click()
  await bob.locator('#link-code').fill('nonsense')
  await click(bob, 'Sign for it')
  await bob.getByText('This is not such a code.').waitFor()
  await bob.locator('#link-code').fill(request)
  await click(bob, 'Sign for it')
  await bob.locator('#answer').waitFor()
  const answer = await bob.locator('#answer').textContent()
  await second.locator('#join-answer').fill(answer)
  await click(second, 'Join')
  await second.getByText('This browser is a device').waitFor()
  await second.goto(`${app}/chat`)
  await live(second)
  // His first browser brings the second one into the conversation; a link that names her by her key opens it.
  await bob.goto(`${app}/chat?with=${encodeURIComponent(identity)}`)
  await live(bob)
  await bob.locator('section[aria-label="alice"]').waitFor()
  // A name that is not the one's whom one looked for is told.
  await bob.goto(`${app}/chat?with=${encodeURIComponent(`ed25519:${'ab'.repeat(32)}`)}`)
  await live(bob)
  await bob.getByText('You have not written to ed25519:').waitFor()
  await bob.locator('#people').fill('alice')
  await click(bob, 'Open')
  await bob.getByText('That name belongs to somebody else.').waitFor()
  await second.getByRole('button', { name: /alice/ }).click()
  // She compared the number, so she is asked before she writes to a device that she has not seen.
  await say(alice, 'to both of you')
  await alice.getByText(/devices or keys changed since/).waitFor()
  await accessible(alice, 'changed devices')
  await picture(alice, 'chat-changed')
  await click(alice, 'Send anyway')
  await hears(alice, 'to both of you')
  await hears(second, 'to both of you')
  await say(second, 'from my second browser')
  await hears(alice, 'from my second browser')
  calm(second)
  await second.context().close()
})

chapter('with a next key on paper, a revocation commits to it, and only its words change the key', async () => {
  await alice.goto(`${app}/keys`)
  await unlock(alice)
  await alice.getByText('Change the key', { exact: true }).click()
  await alice.getByText('Make a next key').click()
  await click(alice, 'Commit to it')
  const next = alice.locator('details', { hasText: 'Make a next key' }).last()
  await next.locator('ol.words li').nth(23).waitFor()
  const words = await next.locator('ol.words li').allTextContents()
  await next.getByRole('button', { name: 'I have written them down' }).click()
  for (const input of await next.locator('input[id^=word-]').all()) {
    await input.fill(words[Number((await input.getAttribute('id')).slice('word-'.length))])
  }
  await next.getByRole('button', { name: 'Check the words' }).click()
  await alice.getByText('Your next event commits').waitFor()
  const card = alice.locator('li.card', { hasText: 'github:alice' })
  await card.getByRole('button', { name: 'Revoke' }).click()
  await accessible(alice, 'before a revocation')
  await picture(alice, 'revoke')
  await card.getByRole('button', { name: 'Yes, do it' }).click()
  await card.getByText('revoked by its owner').waitFor()
  await alice.getByText('Your sigchain has committed to a next key.').waitFor()
  const change = async (text) => {
    await alice.locator('#next-words').fill(text)
    await click(alice, 'Change the key now')
    await click(alice, 'Yes, do it')
  }
  await change([...words.slice(1), words[0]].join(' '))
  await alice.getByText('These are not the words of the next key.').waitFor()
  await change(words.join('  '))
  await alice.getByText('The key was changed. Make a new backup.').waitFor()
  assert.equal(await alice.locator('dd code').first().textContent(), identity)
  const current = await alice.locator('dd code').nth(1).textContent()
  assert.notEqual(current, identity)
  // On a new machine the words of the new key, and any account, are the identity again.
  const other = await person()
  await other.goto(`${app}/keys#import`)
  const bring = async (account) => {
    await other.locator('#import-text').fill(words.join(' '))
    await other.locator('#import-account').fill(account)
    await click(other, 'Import')
  }
  await bring('ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  await other.getByText('This key does not stand for that identity.').waitFor()
  await bring('@alice.test')
  await other.locator('dd code').nth(1).waitFor()
  assert.deepEqual(await other.locator('dd code').allTextContents(), [identity, current])
  calm(other)
  await other.context().close()
  calm(alice)
})

chapter('the stranger sees it', async () => {
  asked()
  await bob.goto(`${app}/github:alice`)
  await bob.locator('tbody', { hasText: 'github:alice' }).getByText('revoked by its owner').first().waitFor()
  await bob.getByText('4 of 5 verified').waitFor()
  await accessible(bob, 'a revoked account')
  await picture(bob, 'revoked')
  // Nobody was asked but the platforms of these accounts, and the sources of the sigchain.
  const relays = ['nos.lol', 'relay.damus.io', 'relay.primal.net']
  const platforms = ['api.github.com', 'cloudflare-dns.com', 'plc.directory', 'public.api.bsky.app', 'social.example']
  // Domains are asked for their own copy of it, and for what they say of a handle.
  const hosts = new Set([...relays, ...platforms, 'sig.example', 'example.com', 'alice.test'])
  assert.deepEqual(asked().filter((host) => !hosts.has(host)), [])
  calm(bob)
})

chapter('somebody whose key is in an extension proves an account with it', async () => {
  const dave = await person()
  await wish('gist', { message: { op: 'user', login: 'dave', id: 4712 } })
  await dave.goto(`${app}/prove/github`)
  await click(dave, 'Use my nostr extension')
  await dave.locator('#account').waitFor()
  await wish('gist', { message: { op: 'gist', login: 'dave', files: { 'kez.md': await prove(dave, 'github', 'dave') } } })
  await found(dave, 'github')
  await dave.goto(`${app}/keys`)
  assert.equal(await dave.locator('dd code').first().textContent(), dave.nostr)
  await accessible(dave, 'keys of an extension')
  await bob.goto(`${app}/github:dave`)
  await bob.getByText('1 of 1 verified').waitFor()
  calm(dave)
  await dave.context().close()
})

chapter('the page posts the proofs itself, as one lets it', async () => {
  const erin = await person()
  await wish('gist', { message: { op: 'user', login: 'erin', id: 4713 } })
  await wish('gist', { message: { op: 'token', token: 'test-token-erin', login: 'erin', scopes: ['gist'] } })
  await erin.goto(`${app}/prove`)
  await click(erin, 'Make an identity')
  await erin.getByRole('heading', { name: 'Which account?' }).waitFor()
  await prove(erin, 'github', 'erin')
  await erin.getByText('Let this page post it').click()
  await accessible(erin, 'a proof to be posted')
  await erin.locator('#secret').fill('wrong')
  await click(erin, 'Post it')
  await erin.getByText('credential_refused').waitFor()
  assert.equal(await erin.locator('#secret').inputValue(), '')
  await picture(erin, 'prove-post')
  await erin.locator('#secret').fill('test-token-erin')
  // Her extension has a nostr key, of which other clients read the account too.
  await erin.getByLabel('Also name it for other nostr apps').check()
  await click(erin, 'Post it')
  await listed(erin, 'github')
  await erin.goto(`${app}/prove`)
  await erin.getByText('I have such proofs elsewhere').click()
  await erin.getByLabel('Your npub').fill(erin.nostr)
  await click(erin, 'Read it')
  const named = erin.locator('li.card', { hasText: 'github:erin' })
  await named.getByText('each names the other').waitFor()
  await named.getByText('proven here').waitFor()
  await accessible(erin, 'proofs elsewhere')
  await picture(erin, 'prove-elsewhere')
  // What a page and a file say leads to the proofs.
  await wish('gist', { message: { op: 'user', login: 'erin-too', id: 4714, social: ['https://social.example/@jason'] } })
  await erin.getByLabel('Where', { exact: true }).selectOption('rel-me')
  await erin.getByLabel('Your page, domain').fill('github:erin-too')
  await click(erin, 'Read it')
  await erin.getByText('the account does not name it').waitFor()
  await erin.getByRole('link', { name: /Prove it here.*ap:jason@social\.example/ }).waitFor()
  await erin.getByLabel('Where', { exact: true }).selectOption('keybase')
  const them = [{ basics: { username: 'erin' }, proofs_summary: { all: [{ proof_type: 'github', nametag: 'erin-too', state: 1 }] } }]
  await erin.getByLabel('The file that').setInputFiles({ name: 'lookup.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify({ them })) })
  await click(erin, 'Read it')
  await erin.getByText('said by somebody else').waitFor()
  await erin.getByRole('link', { name: /Prove it here.*github:erin-too/ }).click()
  await erin.waitForURL(`${app}/prove/github?account=github%3Aerin-too`)
  assert.equal(await erin.locator('#account').inputValue(), 'github:erin-too')
  await prove(erin, 'bluesky', '@bob.test')
  await erin.getByText('Let this page post it').click()
  await erin.locator('#secret').fill(await wish('password', { handle: 'bob.test', name: 'KEZ' }))
  await click(erin, 'Post it')
  await listed(erin, 'bluesky')
  await wish('field', { value: 'nothing' })
  await prove(erin, 'ap', '@jason@social.example')
  await erin.getByText('Let this page post it').click()
  await click(erin, 'Ask my server')
  const leave = erin.getByRole('link', { name: 'Allow it there' })
  await leave.waitFor()
  await erin.locator('#secret').fill(await wish('leave', { url: await leave.getAttribute('href') }))
  await click(erin, 'Post it')
  await listed(erin, 'ap')
  // Nothing of the secrets stays.
  const kept = await erin.evaluate(async () => {
    const all = [JSON.stringify(localStorage), JSON.stringify(sessionStorage)]
    for (const { name } of await indexedDB.databases()) {
      const db = await new Promise((done) => (indexedDB.open(name).onsuccess = ({ target }) => done(target.result)))
      for (const store of db.objectStoreNames) {
        const got = db.transaction(store).objectStore(store).getAll()
        all.push(JSON.stringify(await new Promise((done) => (got.onsuccess = () => done(got.result)))))
      }
      db.close()
    }
    return all.join()
  })
  assert.ok(kept.includes('sigchain') || kept.length > 100)
  assert.ok(!kept.includes('test-token-erin'))
  calm(erin)
  await erin.context().close()
})

chapter('a Bluesky server is asked for leave in another tab, which comes back by itself', async () => {
  // Such servers send no browser back to a name of this machine, but to its address.
  const here = app.replace('localhost', '127.0.0.1')
  const frank = await person()
  await frank.goto(`${here}/prove`)
  await click(frank, 'Make an identity')
  await frank.getByRole('heading', { name: 'Which account?' }).waitFor()
  await wish('bluesky', { handle: 'alice.test', value: '' })
  await prove(frank, 'bluesky', '@alice.test', here)
  await frank.getByText('Let this page post it').click()
  await accessible(frank, 'a proof to be posted by leave')
  await click(frank, 'Ask my server')
  const allow = frank.getByRole('link', { name: 'Allow it there' })
  await allow.waitFor()
  await picture(frank, 'prove-leave')
  // The answer to what another page has asked for is not to this one.
  const another = await opened(frank.context())
  await another.goto(`${here}/back?state=another&code=of-another`)
  await another.getByText('You can close this page').waitFor()
  await another.close()
  const opens = frank.context().waitForEvent('page')
  await allow.click()
  const server = await opens
  await server.locator('input[name=password]').fill('test-password')
  await click(server, 'Sign in')
  await click(server, 'Authorize')
  await server.getByText('You can close this page').waitFor()
  assert.equal(new URL(server.url()).search, '')
  await server.close()
  await listed(frank, 'bluesky')
  assert.equal(await frank.locator('[role=alert]:not(:empty)').count(), 0)
  // Servers elsewhere read who we are; by atproto's own reader of that document.
  const types = new URL('../../xtask/services/node_modules/@atproto/oauth-types/dist/index.js', import.meta.url)
  const { oauthClientMetadataSchema } = await import(types)
  const text = await (await fetch(`${app}/client-metadata.json`)).text()
  const elsewhere = JSON.parse(text.replaceAll(JSON.parse(text).client_uri, 'https://chat.example'))
  assert.deepEqual(oauthClientMetadataSchema.parse(elsewhere).redirect_uris, ['https://chat.example/back'])
})

chapter('a code is read by the camera', async () => {
  const request = `kez-join:ed25519:${'d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'}`
  const viewer = await person({ camera: request })
  await viewer.goto(`${app}/keys`)
  await click(viewer, 'Make an identity')
  await viewer.getByText('Link another browser').click()
  await viewer.locator('#link-code').waitFor()
  await viewer.locator('form', { has: viewer.locator('#link-code') }).getByRole('button', { name: 'Scan with the camera' }).click()
  await viewer.locator('#answer').waitFor()
  assert.equal(await viewer.locator('#link-code').inputValue(), request)
  calm(viewer)
  await viewer.context().close()
})

chapter('settings are kept, everything can be taken along, and deleted', async () => {
  await bob.goto(`${app}/settings`)
  await bob.locator('#relays').waitFor()
  await accessible(bob, 'settings')
  await picture(bob, 'settings')
  await bob.locator('#sig').fill('http://sig.example')
  await click(bob, 'Save')
  await bob.getByText('This is no such address').waitFor()
  await bob.locator('#sig').fill('https://sig.example')
  await bob.locator('#theme').selectOption('dark')
  await click(bob, 'Save')
  await bob.getByText('Saved').waitFor()
  await bob.reload()
  assert.equal(await bob.evaluate(() => document.documentElement.dataset.theme), 'dark')
  await click(bob, 'Download')
  const [download] = await Promise.all([bob.waitForEvent('download'), bob.getByRole('link', { name: /kez-export/ }).click()])
  const text = await readFile(await download.path(), 'utf8')
  assert.equal(JSON.parse(text).schema, 'kez.web-export/1')
  await bob.locator('#delete-word').fill('DELETE')
  await click(bob, 'Delete everything in this browser')
  await bob.waitForURL(`${app}/`)
  await bob.goto(`${app}/keys`)
  await bob.getByText('This browser has no identity yet.').waitFor()
  calm(bob)
})
