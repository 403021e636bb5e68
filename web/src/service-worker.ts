/** Keeps the pages for when there is no network. Nothing of a server's answers is kept here. */
import { assets, immutable } from '$app/manifest'
import { self } from '$app/service-worker'

const SHELL = '/404.html'
const files = [...immutable, ...assets].map(({ path }) => `/${path.replace(/^\//, '')}`)
// The names of built files say what is in them.
const NAME = `kez-${[...files.join('\n')].reduce((sum, c) => (Math.imul(sum, 31) + c.charCodeAt(0)) >>> 0, 7)}`

self.addEventListener('install', (event) => {
  const fill = async () => {
    const cache = await caches.open(NAME)
    await cache.addAll([...files.filter((path) => path !== '/config.json'), SHELL])
    // Scripts that the build moved out of the pages are in no list.
    const shell = await (await cache.match(SHELL))?.text()
    const moved = [...(shell ?? '').matchAll(/src="(\/_app\/[^"]+)"/g)].map((found) => found[1] as string)
    await cache.addAll(moved)
  }
  event.waitUntil(fill())
})

self.addEventListener('activate', (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) if (name.startsWith('kez-') && name !== NAME) await caches.delete(name)
    await self.clients.claim()
  }
  event.waitUntil(clean())
})

self.addEventListener('message', (event) => {
  if (event.data === 'take over') void self.skipWaiting()
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== location.origin) return
  if (request.mode === 'navigate') {
    event.respondWith(page(request))
  } else if (files.includes(url.pathname) || url.pathname.startsWith('/_app/immutable/')) {
    event.respondWith(file(request))
  }
})

/** Every page is the same shell; it is this version's, so that no page meets the scripts of another. */
async function page(request: Request): Promise<Response> {
  const cache = await caches.open(NAME)
  return (await cache.match(SHELL)) ?? fetch(request)
}

async function file(request: Request): Promise<Response> {
  const cache = await caches.open(NAME)
  // What the host may change at any time.
  if (request.url.endsWith('/config.json')) {
    try {
      const response = await fetch(request)
      if (response.ok) await cache.put(request, response.clone())
      return response
    } catch {
      return (await cache.match(request)) ?? Response.error()
    }
  }
  return (await cache.match(request)) ?? fetch(request)
}
