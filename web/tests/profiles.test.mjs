// Whose profile an address is, site by site.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { init, parseIdentity } from '../../npm/dist/node.js'
import { profileAt } from '../src/lib/profiles.ts'

await init()
const npub = 'npub1sn0wdenkukak0d9dfczzeacvhkrgz92ak56egt7vdgzn8pv2wfqqhrjdv9'
const nostr = `nostr:${npub}`
const nprofile = 'nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p'
const key = 'nostr:npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6'

const addresses = {
  'https://github.com/Alice': 'github:alice',
  'https://github.com/alice/?tab=repositories#top': 'github:alice',
  'https://www.github.com/alice': 'github:alice',
  'https://gist.github.com/alice': 'github:alice',
  'https://github.com/alice/repository': null,
  'https://github.com/settings': null,
  'https://github.com/Features': null,
  'https://github.com/': null,
  'https://github.com/-alice': 'github:-alice',
  'https://github.com/a--b': 'github:a--b',
  'https://github.com/sponsors': null,
  'https://gist.github.com/c0ffee00c0ffee00c0ff': null,
  'https://alice.github.io/blog/': 'dns:alice.github.io',
  'https://mastodon.social/%40alice': 'ap:alice@mastodon.social',
  'https://bsky.app/profile/alice.bsky.social': 'bluesky:alice.bsky.social',
  'https://bsky.app/profile/Alice.Example.Com/': 'bluesky:alice.example.com',
  'https://bsky.app/profile/did:plc:ewvi7nxzyoun6zhxrhs64oiz': 'bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz',
  'https://bsky.app/profile/alice.bsky.social/post/3k44': null,
  'https://bsky.app/search': null,
  'https://mastodon.social/@alice': 'ap:alice@mastodon.social',
  'https://mastodon.social/@Alice/': 'ap:alice@mastodon.social',
  'https://mastodon.social/@bob@hachyderm.io': 'ap:bob@hachyderm.io',
  'https://social.example/users/alice': 'ap:alice@social.example',
  'https://mastodon.social/@alice/109349': 'dns:mastodon.social',
  'https://youtube.com/@alice': 'dns:youtube.com',
  [`https://njump.me/${npub}`]: nostr,
  [`https://njump.me/${nprofile}`]: key,
  'https://njump.me/nevent1qqs': null,
  [`https://primal.net/p/${npub}`]: nostr,
  [`https://primal.net/${npub}`]: nostr,
  'https://primal.net/home': null,
  [`https://snort.social/${npub}`]: nostr,
  [`https://iris.to/${npub}`]: nostr,
  [`https://coracle.social/people/${npub}`]: nostr,
  [`https://nostrudel.ninja/u/${npub}`]: nostr,
  [`https://jumble.social/users/${npub}`]: nostr,
  [`https://nosta.me/${npub}`]: nostr,
  'https://example.com/': 'dns:example.com',
  'https://www.example.com/some/page': 'dns:example.com',
  'http://example.com.': 'dns:example.com',
  'https://xn--bcher-kva.example/': 'dns:xn--bcher-kva.example',
  'https://localhost/': null,
  'https://127.0.0.1/@alice': null,
  'https://[::1]/': null,
  'chrome://settings': null,
  'about:blank': null,
  'file:///etc/passwd': null,
  'javascript:alert(1)': null,
  'not an address': null,
}
for (const [address, identity] of Object.entries(addresses)) {
  test(address, () => {
    const profile = profileAt(address)
    assert.equal(profile === undefined ? null : parseIdentity(profile.identity), identity)
  })
}

test('what the page must show is part of the address', () => {
  assert.equal(profileAt('https://github.com/Alice').mark, 'alice')
  assert.equal(profileAt('https://bsky.app/profile/Alice.Example.Com').mark, '@alice.example.com')
  assert.equal(profileAt('https://mastodon.social/@Bob@hachyderm.io').mark, '@bob')
  assert.equal(profileAt(`https://njump.me/${npub}`).mark, 'npub1sn0w')
  assert.equal(profileAt('https://bsky.app/profile/did:plc:abc').mark, null)
})

test('the extension may see the sites that its script runs on, and no others', () => {
  const { host_permissions, content_scripts } = JSON.parse(readFileSync(new URL('../extension/public/manifest.json', import.meta.url), 'utf8'))
  assert.deepEqual(content_scripts.map(({ matches }) => matches), [host_permissions])
})
