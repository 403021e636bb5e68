// Channel `ap` (SPEC.md): the fields and the bio of a fediverse actor.

import { answered, type Context, endError, endWith, isGone, type Lookup, statusBehind } from './channel.ts'
import { htmlText } from './html.ts'
import { attempt, isObject, Refused } from './json.ts'
import { type Fetched, get, jsonOf, NetworkRefused, type Place, placeOf } from './transport.ts'
import { fingerUrl, hostMeta, type Name, plainUrl, readFinger, readName, sameName, sameUrl } from './webfinger.ts'

const placeBehind = (got: Fetched | Refused): Place | undefined =>
  got instanceof NetworkRefused ? got.place : got instanceof Refused ? undefined : placeOf(got)

export async function ap(asked: string, context: Context, found: Lookup): Promise<void> {
  const { t, now, spelling } = context
  const name = readName(asked)!
  const finger = (at: string, who: string) => answered(get(t, fingerUrl(at, who), 'public'), now, found)
  const asksAt = new Set([name.host])

  // A server may know the name in one spelling only.
  const spellings = [...new Set([spelling ?? name.user, name.user])]
  const fingers = await Promise.all(spellings.map((s) => finger(name.host, `${s}@${name.host}`)))
  const whole = fingers.find((f) => !(f instanceof Refused))
  let got = whole ?? fingers.find((f) => !isGone(f)) ?? fingers[0]
  found.place = placeBehind(got) ?? null
  if (isGone(got)) {
    const there = await hostMeta(t, name.host, asked, now, found)
    if (there === undefined) return endWith('identity_not_found', asked, undefined, found.place ?? undefined)
    if (!(there instanceof Refused)) asksAt.add(new URL(there.asked).host)
    got = there
  }
  if (got instanceof Refused) return endError(got)
  found.place = found.current = placeOf(got)
  const first = readFinger(got)
  if (first.other) endWith('handle_mismatch', 'another subject')
  let owner = name
  if (first.name !== undefined && !sameName(first.name, name)) {
    owner = first.name
    await agree(owner.host, [`${owner.user}@${owner.host}`])
    asksAt.add(owner.host)
    found.subject = `ap:${owner.user}@${owner.host}`
  }
  const actorHost = new URL(first.actor).host
  if (!asksAt.has(actorHost)) await agree(actorHost, [`${owner.user}@${actorHost}`, `${owner.user}@${owner.host}`])
  await readActor(first.actor, owner)

  /** KEZ-AP-05: the same name and actor in one of the answers of a host. */
  async function agree(host: string, names: string[]): Promise<void> {
    const answers = await Promise.all([...new Set(names)].map((who) => finger(host, who)))
    const agrees = (answer: Fetched | Refused): boolean => {
      const read = answer instanceof Refused ? answer : attempt(() => readFinger(answer))
      return !(read instanceof Refused) && sameName(read.name, owner) && sameUrl(read.actor, first.actor)
    }
    if (answers.some(agrees)) return
    const failure = answers.find((a): a is Refused => a instanceof Refused && !isGone(a))
    if (failure) endError(failure)
    if (answers.every(isGone)) {
      const there = await hostMeta(t, host, names[0], now, found)
      if (there instanceof Refused) endError(there)
      if (there !== undefined && agrees(there)) return
    }
    endWith('handle_mismatch', host, undefined, placeBehind(answers[0]))
  }

  async function readActor(link: string, { user }: Name): Promise<void> {
    const ask = (url: string) => answered(get(t, url, 'same host', 'application/activity+json'), now, found)
    let answer = await ask(link)
    let id = link
    for (let again = 0; !(answer instanceof Refused); again += 1) {
      const value = jsonOf(answer)
      const self = isObject(value) ? plainUrl(value.id) : undefined
      if (!isObject(value) || !self) return endWith('response_refused', link)
      if (value.id === id) break
      if (again > 0 || self.host !== actorHost) endWith('handle_mismatch', value.id) // KEZ-AP-02
      id = value.id
      answer = await ask(id)
    }
    if (answer instanceof Refused) {
      const status = statusBehind(answer)
      if (status === 410) endWith('identity_not_found', link)
      const hidden = status === 401 || (status === 403 && answer.code === 'http_status')
      if (!hidden && status !== 404 && answer.code !== 'challenge') endError(answer)
      const place = placeBehind(answer)!
      return mastodon(hidden ? new NetworkRefused('auth_required', id, place) : answer, id, user)
    }
    found.place = placeOf(answer)
    const actor = jsonOf(answer) as { [name: string]: any }
    if (String(actor.preferredUsername).toLowerCase() !== user) endWith('handle_mismatch', actor.preferredUsername)
    if (actor.suspended === true) endWith('account_suspended', id)
    found.account = id
    const moved = isObject(actor.movedTo) ? actor.movedTo.id : actor.movedTo
    if (typeof moved === 'string') found.movedTo = moved // KEZ-AP-07
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
    const url = `https://${actorHost}/api/v1/accounts/lookup?acct=${encodeURIComponent(user)}`
    const got = await answered(get(t, url, 'same host'), now, found)
    if (got instanceof Refused) {
      const status = statusBehind(got)
      return endError(status === 0 || status >= 500 ? got : refusal)
    }
    const value = jsonOf(got)
    if (!isObject(value)) return endError(refusal)
    const none = value.uri === undefined || value.uri === null
    const ours = none ? plainUrl(value.url)?.host === actorHost : sameUrl(String(value.uri), actor)
    if (String(value.acct).toLowerCase() !== user || !ours) endWith('handle_mismatch', String(value.acct))
    if (value.suspended === true) endWith('account_suspended', actor)
    found.place = placeOf(got)
    found.account = actor
    const fields: any[] = Array.isArray(value.fields) ? value.fields : []
    addTexts([...fields.map((f) => f?.value), value.note], got)
    const moved = value.moved?.uri ?? value.moved?.url
    if (typeof moved === 'string') found.movedTo = moved
  }
}
