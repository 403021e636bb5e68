// A fediverse server in secure mode, on the real Fedify library: actors are shown to signed
// requests only, and there is no Mastodon API to fall back to.
import { createFederation, generateCryptoKeyPair, MemoryKvStore } from '@fedify/fedify'
import { Person, PropertyValue } from '@fedify/vocab'
import { serve } from '@hono/node-server'

const [port, origin] = process.argv.slice(2)
const keys = await generateCryptoKeyPair('RSASSA-PKCS1-v1_5')
const federation = createFederation({ kv: new MemoryKvStore(), allowPrivateAddress: true, origin })
federation
  .setActorDispatcher('/users/{identifier}', async (context, identifier) => {
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
  .authorize(async (context) => (await context.getSignedKey()) != null)
federation.setInboxListeners('/users/{identifier}/inbox')
serve(
  {
    port: Number(port),
    hostname: '127.0.0.1',
    fetch: (request) => federation.fetch(request, { contextData: undefined }),
  },
  () => console.log(JSON.stringify({ up: true })),
)
