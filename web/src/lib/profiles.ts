/** Whose profile a page of the web is: from its address alone, and nothing is asked. The forms of addresses are the core's. */
import { type Channel, CHANNELS, type Scheme, type UrlForm } from './channels.ts'

/** The platforms whose pages the extension knows its way about. */
export type Site = Exclude<Scheme, 'ed25519'>

export interface Profile {
  site: Site
  /** As the address has it; `parseIdentity` makes it canonical, or refuses it. */
  identity: string
  /** What the page shows beside the name, in lower case, where it is this person's; none where that cannot be said. */
  mark: string | null
}

const channels: readonly Channel[] = CHANNELS
const FORMS = channels.flatMap(({ scheme, urls }) => urls.map((form) => ({ site: scheme as Site, form })))
const ACCOUNT = /^[a-z0-9_][a-z0-9_.-]*(?:@[^@]*\.[^@]*)?$/i

/** The escapes that browsers put into addresses without need. */
const unescaped = (segment: string) =>
  segment.replace(/%[\da-f]{2}/gi, (escape) => {
    const char = String.fromCharCode(Number.parseInt(escape.slice(1), 16))
    return /[\w.~@:-]/.test(char) ? char : escape
  })

/** The name at a form's place in a path, if the page is the profile itself and none below it. */
function nameAt(form: UrlForm, host: string, segments: readonly string[]): string | undefined {
  const pattern = form.path.split('/').filter((part) => part !== '' && part !== '*')
  if (form.except.includes(host) || pattern.length !== segments.length) return undefined
  let name: string | undefined
  for (const [n, part] of pattern.entries()) {
    const segment = segments[n] ?? ''
    const [before = '', after] = part.split('{name}')
    if (after === undefined ? segment !== part : !segment.startsWith(before)) return undefined
    if (after !== undefined) name = segment.slice(before.length)
  }
  const lower = name?.toLowerCase() ?? ''
  const isId = form.hexIsId && /^[\da-f]*$/.test(lower)
  const begins = form.starts.length === 0 || form.starts.some((start) => lower.startsWith(start))
  return lower === '' || form.reserved.includes(lower) || isId || !begins ? undefined : name
}

/** What the page of an account shows. */
function markOf(site: Site, name: string): string | null {
  const lower = name.toLowerCase()
  if (site === 'github') return lower
  if (site === 'bluesky') return lower.startsWith('did:') ? null : `@${lower}`
  // Clients shorten a key in the middle.
  if (site === 'nostr') return lower.startsWith('npub1') ? lower.slice(0, 9) : null
  return site === 'ap' ? `@${lower.split('@')[0]}` : null
}

/**
 * Whose profile this address is: of an account, where it is one's profile on a platform; else of the domain. Nothing for pages
 * of platforms that are nobody's profile, and for what is no address of the web.
 */
export function profileAt(address: string): Profile | undefined {
  if (!URL.canParse(address)) return undefined
  const { protocol, hostname, pathname, port } = new URL(address)
  if (!['https:', 'http:'].includes(protocol) || !hostname.includes('.') || /^[\d.]+$/.test(hostname)) return undefined
  const host = hostname.replace(/\.$/, '')
  const segments = pathname.split('/').filter((part) => part !== '').map(unescaped)
  const named = FORMS.some(({ form }) => form.hosts.includes(host))
  for (const { site, form } of FORMS) {
    if (named ? !form.hosts.includes(host) : form.hosts.length > 0 || port !== '') continue
    const name = nameAt(form, host, segments)
    if (name === undefined || (!named && !ACCOUNT.test(name))) continue
    const value = form.atHost && !name.includes('@') ? `${name}@${host}` : name
    return { site, identity: `${site}:${value}`, mark: markOf(site, name) }
  }
  return named ? undefined : { site: 'dns', identity: `dns:${host.replace(/^www\./, '')}`, mark: null }
}
