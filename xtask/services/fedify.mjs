// A fediverse server in secure mode, on the real Fedify library: carol is shown to signed requests
// only, and there is no Mastodon API to fall back to. dave is open, and what he shows and posts is
// in a directory: profile.html and <id>.html.
import { createFederation, generateCryptoKeyPair, MemoryKvStore } from '@fedify/fedify'
import { Note, Person, PropertyValue, PUBLIC_COLLECTION } from '@fedify/vocab'
import { serve } from '@hono/node-server'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const [port, origin, dave] = process.argv.slice(2)
const keys = await generateCryptoKeyPair('RSASSA-PKCS1-v1_5')
const federation = createFederation({ kv: new MemoryKvStore(), allowPrivateAddress: true, origin })
federation
  .setActorDispatcher('/users/{identifier}', async (context, identifier) => {
    if (identifier === 'dave') {
      return new Person({
        id: context.getActorUri(identifier),
        preferredUsername: identifier,
        name: 'Dave',
        summary: await readFile(join(dave, 'profile.html'), 'utf8'),
        inbox: context.getInboxUri(identifier),
      })
    }
    if (identifier !== 'carol') return null
    const pairs = await context.getActorKeyPairs(identifier)
    return new Person({
      id: context.getActorUri(identifier),
      preferredUsername: identifier,
      name: 'Carol',
      summary: '<p>hidden from strangers</p>',
      inbox: context.getInboxUri(identifier),
      publicKey: pairs[0].cryptographicKey,
      attachments: [new PropertyValue({ name: 'KEZ', value: 'kez:nostr:hidden' })],
    })
  })
  .setKeyPairsDispatcher(async () => [keys])
  .authorize(async (context, name) => name === 'dave' || (await context.getSignedKey()) != null)
federation.setObjectDispatcher(Note, '/@{identifier}/{id}', async (context, values) => {
  const content = await readFile(join(dave, `${Number(values.id)}.html`), 'utf8').catch(() => null)
  if (content === null) return null
  return new Note({
    id: context.getObjectUri(Note, values),
    attribution: context.getActorUri(values.identifier),
    content,
    to: PUBLIC_COLLECTION,
  })
})
federation.setInboxListeners('/users/{identifier}/inbox')
serve(
  {
    port: Number(port),
    hostname: '127.0.0.1',
    fetch: (request) => federation.fetch(request, { contextData: undefined }),
  },
  () => console.log(JSON.stringify({ up: true })),
)
