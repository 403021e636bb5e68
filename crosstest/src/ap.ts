// Channel `ap` (SPEC.md): the fields and the bio of a fediverse actor.

import { answered, type Context, endError, endWith, isGone, type Lookup, statusBehind } from './channel.ts'
import { htmlText } from './html.ts'
import { isDomain } from './identity.ts'
import { hostOf } from './input.ts'
import { attempt, foreign, isObject, Refused, refuse } from './json.ts'
import { bodyText, type Fetched, get, NetworkRefused, placeOf } from './transport.ts'

type Name = { user: string; host: string }
/** What a WebFinger says: the account's name (none where it gives none), and the actor. */
type Finger = { name: Name | undefined; actor: string }

const plainUrl = (text: unknown): URL | undefined => {
  if (typeof text !== 'string' || !URL.canParse(text)) return undefined
  const url = new URL(text)
  const plain = url.protocol === 'https:' && url.username === '' && url.password === '' && isDomain(url.hostname)
  return plain ? url : undefined
}

const isActivity = (type: unknown): boolean =>
  typeof type === 'string' &&
  (/^application\/activity\+json/i.test(type) ||
    (/^application\/ld\+json/i.test(type) && /activitystreams/i.test(type)))

function readName(text: string): Name | undefined {
  const [user, host, more] = text.replace(/^acct:/i, '').split('@')
  if (!user || host === undefined || more !== undefined) return undefined
  const ascii = attempt(() => hostOf(host))
  return ascii instanceof Refused ? undefined : { user: user.toLowerCase(), host: ascii }
}

const sameName = (a: Name | undefined, b: Name) => a !== undefined && a.user === b.user && a.host === b.host

/** KEZ-AP-01 */
function readFinger(answer: Fetched): Finger {
  const value = foreign(bodyText(answer))
  if (!isObject(value)) refuse('response_refused', 'no JSON object')
  const links: any[] = Array.isArray(value.links) ? value.links : []
  const link = links.find((l) => isObject(l) && l.rel === 'self' && isActivity(l.type))
  if (!plainUrl(link?.href)) refuse('response_refused', 'no actor')
  const { subject } = value
  if (typeof subject !== 'string' || subject === link.href) return { name: undefined, actor: link.href }
  return { name: readName(subject) ?? { user: subject, host: '' }, actor: link.href }
}

export async function ap(asked: string, { t, now, spelling }: Context, found: Lookup): Promise<void> {
  const [user, host] = asked.split('@')
  const name: Name = { user, host }
  const fingerUrl = (at: string, who: string) =>
    `https://${at}/.well-known/webfinger?resource=${encodeURIComponent(`acct:${who}`)}`
  const finger = (url: string) => answered(get(t, url, 'public'), now, found)
  const asksAt = new Set([host])

  async function hostMeta(): Promise<Fetched> {
    const documents = await Promise.all(
      ['host-meta', 'host-meta.json'].map((path) =>
        answered(get(t, `https://${host}/.well-known/${path}`, 'public'), now),
      ),
    )
    for (const got of documents) {
      const template = got instanceof Refused ? undefined : lrdd(bodyText(got))
      if (template === undefined) continue
      const url = template.replace('{uri}', encodeURIComponent(`acct:${user}@${host}`))
      const there = await finger(url)
      if (isGone(there)) endWith('identity_not_found', asked, undefined, found.place!)
      if (there instanceof Refused) endError(there)
      asksAt.add(new URL(url).host)
      return there as Fetched
    }
    for (const got of documents) {
      const status = statusBehind(got)
      const none = !(got instanceof Refused) || (status >= 400 && status < 500 && status !== 401)
      if (!none) endError(got as Refused)
    }
    return endWith('identity_not_found', asked, undefined, found.place!)
  }

  // The name as typed is preferred; servers differ in whether they know it in lower case.
  const typed = spelling?.split('@')[0] ?? user
  const spellings = [...new Set([typed, user])]
  const urls = spellings.map((s) => fingerUrl(host, `${s}@${host}`))
  found.place = { url: urls[0] }
  const fingers = await Promise.all(urls.map(finger))
  let got = fingers.find((f) => !(f instanceof Refused)) ?? fingers.find((f) => !isGone(f)) ?? fingers[0]
  if (got instanceof NetworkRefused) found.place = got.place
  if (isGone(got)) got = await hostMeta()
  if (got instanceof Refused) endError(got)
  found.place = found.current = placeOf(got as Fetched)
  const first = readFinger(got as Fetched)
  let owner = name
  if (first.name !== undefined && !sameName(first.name, name)) {
    owner = first.name
    const there = owner.host === '' ? undefined : await finger(fingerUrl(owner.host, `${owner.user}@${owner.host}`))
    if (there === undefined || there instanceof Refused)
      return endWith('handle_mismatch', `${owner.user}@${owner.host}`)
    const second = attempt(() => readFinger(there))
    const agreed = !(second instanceof Refused) && sameName(second.name, owner) && second.actor === first.actor
    if (!agreed) endWith('handle_mismatch', `${owner.user}@${owner.host}`)
    asksAt.add(owner.host)
    found.subject = `ap:${owner.user}@${owner.host}`
  }
  const actorHost = new URL(first.actor).host
  if (!asksAt.has(actorHost)) {
    // KEZ-AP-05
    const wanted = [`${owner.user}@${actorHost}`, `${owner.user}@${owner.host}`]
    const answers = await Promise.all(wanted.map((who) => finger(fingerUrl(actorHost, who))))
    const agreed = answers.some((answer) => {
      const read = answer instanceof Refused ? answer : attempt(() => readFinger(answer))
      return !(read instanceof Refused) && sameName(read.name, owner) && read.actor === first.actor
    })
    const failure = answers.find((a) => a instanceof Refused && !isGone(a))
    if (!agreed && failure) endError(failure as Refused)
    const [own] = answers
    const place = own instanceof NetworkRefused ? own.place : own instanceof Refused ? undefined : placeOf(own)
    if (!agreed) endWith('handle_mismatch', actorHost, undefined, place)
  }
  await readActor(first.actor, owner)

  async function readActor(link: string, { user }: Name): Promise<void> {
    const ask = (url: string) => answered(get(t, url, 'same host', 'application/activity+json'), now, found)
    let answer = await ask(link)
    let id = link
    for (let again = 0; !(answer instanceof Refused); again += 1) {
      const value = foreign(bodyText(answer))
      const self = isObject(value) ? plainUrl(value.id) : undefined
      if (!isObject(value) || !self) return endWith('response_refused', link)
      if (value.id === id) break
      if (again > 0 || self.host !== actorHost) endWith('handle_mismatch', value.id) // KEZ-AP-02
      id = value.id
      answer = await ask(id)
    }
    if (statusBehind(answer) === 410) endWith('identity_not_found', link)
    if (answer instanceof Refused) {
      const helps = [401, 403, 404].includes(statusBehind(answer)) || answer.code === 'challenge'
      if (!helps) endError(answer)
      return mastodon(answer, id, user)
    }
    found.place = placeOf(answer)
    const actor = foreign(bodyText(answer)) as { [name: string]: any }
    if (String(actor.preferredUsername).toLowerCase() !== user) endWith('handle_mismatch', actor.preferredUsername)
    found.account = id
    if (actor.suspended === true) endWith('account_suspended', id)
    if (typeof actor.movedTo === 'string') found.movedTo = actor.movedTo // KEZ-AP-07
    const { attachment, summary } = actor
    if (attachment === undefined && summary === undefined && actor.name === undefined) {
      return mastodon(new NetworkRefused('auth_required', id, found.place), id, user)
    }
    const fields: any[] = Array.isArray(attachment) ? attachment : [attachment]
    const values = fields.filter((f) => isObject(f) && f.type === 'PropertyValue').map((f) => f.value)
    addTexts([...values, summary], answer)
  }

  function addTexts(values: unknown[], answer: Fetched): void {
    for (const value of values) if (typeof value === 'string') found.add(htmlText(value), answer)
  }

  /** KEZ-AP-04 */
  async function mastodon(refusal: Refused, actor: string, user: string): Promise<void> {
    const got = await answered(
      get(t, `https://${actorHost}/api/v1/accounts/lookup?acct=${user}`, 'same host'),
      now,
      found,
    )
    if (got instanceof Refused) {
      const ends = got.code === 'challenge' || got.code === 'rate_limited' || statusBehind(got) >= 500
      return endError(ends ? got : refusal)
    }
    const value = foreign(bodyText(got))
    if (!isObject(value)) return endError(refusal)
    const uri =
      value.uri === undefined || value.uri === null ? plainUrl(value.url)?.host === actorHost : value.uri === actor
    if (String(value.acct).toLowerCase() !== user || !uri) endWith('handle_mismatch', String(value.acct))
    found.place = placeOf(got)
    found.account = actor
    const fields: any[] = Array.isArray(value.fields) ? value.fields : []
    addTexts([...fields.map((f) => f?.value), value.note], got)
    const moved = value.moved?.uri ?? value.moved?.url
    if (typeof moved === 'string') found.movedTo = moved
  }
}

/** The template of a host-meta document, as JRD or XRD. */
function lrdd(text: string): string | undefined {
  const value = foreign(text)
  if (isObject(value)) {
    const links: any[] = Array.isArray(value.links) ? value.links : []
    const link = links.find((l) => isObject(l) && l.rel === 'lrdd' && typeof l.template === 'string')
    return link?.template
  }
  for (const [tag] of text.matchAll(/<Link\b[^>]*>/gi)) {
    const template = /\stemplate=["']([^"']*)["']/i.exec(tag)?.[1]
    if (/\srel=["']lrdd["']/i.test(tag) && template !== undefined) return template.replaceAll('&amp;', '&')
  }
  return undefined
}
