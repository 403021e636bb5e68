/** Whose profile a page of the web is: from its address alone, and nothing is asked. */

/** The platforms whose pages the extension knows its way about. */
export type Site = 'github' | 'bluesky' | 'ap' | 'nostr' | 'dns'

export interface Profile {
  site: Site
  /** As the address has it; `parseIdentity` makes it canonical, or refuses it. */
  identity: string
  /** What the page shows beside the name, in lower case, where it is this person's; none where that cannot be said. */
  mark: string | null
}

/** First parts of GitHub's paths that are no account's. */
const GITHUB_OWN = new Set(
  'about account apps blog business codespaces collections contact copilot customer-stories dashboard discussions enterprise events explore features gist gists home images issues join learn login logout marketplace mobile models new notifications orgs organizations partners pricing pulls readme resources search security sessions settings showcases signup site solutions sponsors stars status team topics trending users watching why-github'.split(' '),
)
const LOGIN = /^[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){0,38}$/i
const KEY = /^(?:npub1|nprofile1)[a-z0-9]{50,}$/

/** Nostr clients, and where in their paths the key stands. */
const NOSTR = new Map<string, RegExp>([
  ['njump.me', /^\/([^/]+)\/?$/],
  ['nosta.me', /^\/([^/]+)\/?$/],
  ['iris.to', /^\/([^/]+)\/?$/],
  ['primal.net', /^\/(?:p\/)?([^/]+)\/?$/],
  ['snort.social', /^\/(?:p\/)?([^/]+)\/?$/],
  ['coracle.social', /^\/people\/([^/]+)\/?$/],
  ['nostrudel.ninja', /^\/u\/([^/]+)\/?$/],
  ['jumble.social', /^\/users\/([^/]+)\/?$/],
])

/** Sites whose `/@name` is no account of the fediverse. */
const OTHERS = new Set(['medium.com', 'youtube.com', 'tiktok.com', 'threads.net', 'threads.com', 'npmjs.com', 'substack.com', 'rumble.com', 'odysee.com'])

const last = (path: string) => path.split('/').filter((part) => part !== '')

/**
 * Whose profile this address is: of an account, where it is one's profile on a platform; else of the domain. Nothing for pages
 * of platforms that are nobody's profile, and for what is no address of the web.
 */
export function profileAt(address: string): Profile | undefined {
  if (!URL.canParse(address)) return undefined
  const { protocol, hostname, pathname, port } = new URL(address)
  if (!['https:', 'http:'].includes(protocol) || !hostname.includes('.') || /^[\d.]+$/.test(hostname)) return undefined
  const host = hostname.replace(/^www\./, '').replace(/\.$/, '')
  const parts = last(pathname)
  const [first = '', second = ''] = parts
  if (host === 'github.com' || host === 'gist.github.com') {
    if (parts.length !== 1 || !LOGIN.test(first) || GITHUB_OWN.has(first.toLowerCase())) return undefined
    return { site: 'github', identity: `github:${first}`, mark: first.toLowerCase() }
  }
  if (host === 'bsky.app') {
    if (parts.length !== 2 || first !== 'profile') return undefined
    const did = second.startsWith('did:')
    return { site: 'bluesky', identity: `bluesky:${second}`, mark: did ? null : `@${second.toLowerCase()}` }
  }
  const nostr = NOSTR.get(host)
  if (nostr !== undefined) {
    const key = nostr.exec(pathname)?.[1]
    if (key === undefined || !KEY.test(key)) return undefined
    // Clients shorten a key in the middle.
    return { site: 'nostr', identity: `nostr:${key}`, mark: key.startsWith('npub1') ? key.slice(0, 9) : null }
  }
  const pages = /^([a-z0-9-]+)\.github\.io$/.exec(host)?.[1]
  if (pages !== undefined) return { site: 'dns', identity: `github:${pages}`, mark: null }
  if (port === '' && !OTHERS.has(host)) {
    const name = first.startsWith('@') && parts.length === 1 ? first.slice(1) : first === 'users' && parts.length === 2 ? second : ''
    const [user = '', home = host, ...more] = name.split('@')
    if (/^[a-z0-9_][a-z0-9_.-]*$/i.test(user) && more.length === 0 && home.includes('.')) {
      return { site: 'ap', identity: `ap:${user}@${home}`, mark: `@${user.toLowerCase()}` }
    }
  }
  return { site: 'dns', identity: `dns:${host}`, mark: null }
}
