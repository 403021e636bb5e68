/** Asking about somebody: everybody who may know, or their platform alone. */
import { type Graph, identity, init, KezError, parseIdentity, verify, type VerifyOptions } from 'kez'
import { openMemory } from '#lib/store.ts'
import { recording } from '#lib/recording.ts'
import type { Profile, Site } from '#lib/profiles.ts'
import { loadSettings, type Known } from './store.ts'

/** Bluesky's own services; the account's server is known by its paths. */
const BLUESKY = ['public.api.bsky.app', 'plc.directory']

/** Whether an address is the platform's on whose page one is: it learns nothing that it does not know. */
export function isPlatform(site: Site, subject: string, address: string): boolean {
  const { hostname, pathname } = new URL(address)
  switch (site) {
    case 'github':
      return hostname === 'api.github.com' || hostname === 'gist.githubusercontent.com'
    case 'bluesky':
      return BLUESKY.includes(hostname) || pathname.startsWith('/xrpc/')
    case 'ap':
      return hostname === subject.split('@')[1]
    case 'nostr':
      return address.startsWith('wss:')
    case 'dns':
      return false
  }
}

/** The identity that a profile's address names; undefined for what is none after all. */
export async function subjectOf(profile: Profile): Promise<string | undefined> {
  await init()
  try {
    return parseIdentity(profile.identity)
  } catch (error) {
    if (error instanceof KezError) return undefined
    throw error
  }
}

/** A socket that is opened only where one may ask, and says where it was. */
const socketTo = (may: (address: string) => boolean) =>
  class {
    constructor(url: string) {
      if (!may(url)) throw new TypeError('not asked')
      return new WebSocket(url)
    }
  } as unknown as new (url: string) => WebSocket

export interface Checked {
  known: Known
  asked: string[]
  texts: Record<string, string>
}

/** Finds out about an account; of the platform alone, if `only` says which that is. */
export async function check(subject: string, options: { only?: Site | undefined; hidden: boolean }): Promise<Checked> {
  await init()
  const { relays, dns, sigServers = [], verify: set } = await loadSettings()
  const { only, hidden } = options
  const asked = new Set<string>()
  const texts = new Map<string, string>()
  const may = (address: string) => {
    if (only !== undefined && !isPlatform(only, subject, address)) return false
    asked.add(address)
    return true
  }
  const record = recording((url, text) => texts.set(url, text))
  const how: VerifyOptions = {
    ...set,
    ...(relays === undefined ? {} : { relays }),
    ...(dns === undefined ? {} : { dns }),
    sigServers,
    // What one saw in a private window is forgotten with it.
    memory: hidden ? new Map<string, string>() : await openMemory(),
    fetch: (request) => (may(request.url) ? record(request) : Promise.reject(new TypeError('not asked'))),
    WebSocket: socketTo(may),
  }
  let graph: Graph | null = null
  let edges
  if (only === undefined) {
    graph = await identity(subject, how)
    edges = graph.edges
  } else {
    edges = await verify(subject, { ...how, sigServers: [], dns: [], ...(only === 'nostr' ? {} : { relays: [] }) })
  }
  const checked = graph?.checked_at ?? edges[0]?.checked_at ?? new Date().toISOString()
  // Of what was answered, what has the proofs is kept.
  const places = new Set(edges.map(({ place }) => place?.url))
  const shown = [...texts].filter(([url]) => places.has(url))
  return { known: { graph, edges, checked }, asked: [...asked], texts: Object.fromEntries(shown) }
}
