// Channel `github` (SPEC.md): the proof files of public gists.

import { answered, type Context, endWith, isGone, type Lookup } from './channel.ts'
import { isObject, Refused } from './json.ts'
import { bodyText, type Fetched, get, jsonOf, NetworkRefused, placeOf } from './transport.ts'

const FILES = ['kez.md', 'kez.json', 'kez.txt']
const MAX_PAGES = 5
const MAX_GISTS = 64
const MAX_HINTS = 4
const MAX_BODY = 4 * 1024 * 1024

type Gist = { [name: string]: any }

/** Files by their names in lower case (KEZ-GH-05). */
const filesOf = (gist: Gist): [string, Gist][] =>
  Object.entries(isObject(gist.files) ? gist.files : {}).flatMap(([n, f]) =>
    isObject(f) ? [[n.toLowerCase(), f]] : [],
  )
/** A name that its owner may have meant to be one of the three. */
const isSimilar = (name: string) => name.split('.')[0].trim() === 'kez' || FILES.some((f) => name.includes(f))

/** `rel="next"` of a Link header. */
function nextPage(link: string | undefined): string | undefined {
  for (const part of link?.split(/,\s*(?=<)/) ?? []) {
    const match = /^<([^>]*)>(.*)$/.exec(part.trim())
    if (match && /;\s*rel="?next"?/i.test(match[2])) return match[1]
  }
  return undefined
}

export async function github(login: string, { t, now, hints, config }: Context, found: Lookup): Promise<void> {
  const api = config.githubApi
  const ask = (url: string) => answered(get(t, url, 'same host', '*/*', MAX_BODY), now, found)
  const ownerOf = (gist: Gist) => String(gist.owner?.login ?? '').toLowerCase()
  const read = new Set<string>()
  let anyGist = false

  async function readFile(file: Gist, gist: Fetched): Promise<void> {
    if (file.truncated !== true) {
      if (typeof file.content === 'string') found.add(file.content, gist)
      return
    }
    const raw = String(file.raw_url)
    const url = URL.canParse(raw) ? new URL(raw) : undefined
    const ours = url?.protocol === new URL(api).protocol && url.hostname === new URL(api).hostname
    if (!ours && !raw.startsWith('https://gist.githubusercontent.com/')) return found.side('response_refused', raw)
    const got = await ask(raw) // KEZ-GH-06
    if (!(got instanceof Refused)) found.add(bodyText(got), got)
    else if (!isGone(got)) found.sideError(got)
  }

  async function readGist(id: string, hinted: boolean): Promise<void> {
    if (read.has(id)) return
    read.add(id)
    const got = await ask(`${api}/gists/${id}`)
    if (got instanceof Refused) {
      if (!isGone(got)) found.sideError(got)
      return
    }
    const gist = jsonOf(got)
    if (!isObject(gist)) return found.side('response_refused', got.url)
    const other = ownerOf(gist) !== login
    if (hinted && (other || gist.public === false)) return
    if (other) return found.side('wrong_owner', got.url)
    anyGist = true
    found.account ??= String(gist.owner.id)
    if (gist.fork_of !== undefined && gist.fork_of !== null) return found.side('gist_forked', got.url)
    const files = filesOf(gist)
    for (const name of FILES) {
      for (const [, file] of files.filter(([n]) => n === name)) await readFile(file, got)
    }
  }

  let url = `${api}/users/${login}/gists?per_page=100`
  found.place = { url }
  const ids = hints.flatMap((hint) => {
    const path = /^https:\/\/gist\.github\.com\/(?:[^/?#]+\/)?([0-9a-f]+)$/i.exec(hint)?.[1]
    return path ?? (hint.startsWith(`${api}/gists/`) ? hint.slice(api.length + 7) : [])
  })
  for (const id of ids.slice(0, MAX_HINTS)) await readGist(id, true) // KEZ-CNL-07

  const listed: string[] = []
  for (let page = 1; ; page += 1) {
    const got = await ask(url)
    const list = got instanceof Refused ? undefined : jsonOf(got)
    if (page === 1 && got instanceof NetworkRefused) found.place = got.place
    if (page === 1 && !(got instanceof Refused)) found.place = placeOf(got)
    if (page === 1 && isGone(got)) endWith('identity_not_found', login)
    if (got instanceof Refused || !Array.isArray(list)) {
      const error = got instanceof Refused ? got : new Refused('response_refused', got.url)
      found.sideError(error)
      break
    }
    for (const gist of list.filter(isObject)) {
      anyGist = true
      if (ownerOf(gist) !== login) {
        found.side('wrong_owner', String(gist.owner?.login)) // KEZ-GH-02
        continue
      }
      found.account ??= String(gist.owner.id)
      const names = filesOf(gist).map(([n]) => n)
      if (names.some((n) => FILES.includes(n))) listed.push(String(gist.id))
      else if (names.some(isSimilar)) found.side('proof_malformed', `${names.find(isSimilar)} in ${gist.id}`)
      else if (gist.truncated === true) found.side('search_incomplete', String(gist.id))
    }
    const next = nextPage(got.headers.link)
    if (next === undefined) break
    if (!next.startsWith(`${api}/`)) {
      found.side('response_refused', next)
      break
    }
    if (page === MAX_PAGES) {
      found.side('search_incomplete', 'pages of gists')
      break
    }
    url = next
  }
  for (const id of listed) {
    if (read.size >= MAX_GISTS && !read.has(id)) found.side('search_incomplete', 'gists')
    else await readGist(id, false)
  }

  if (!anyGist) await readUser()
  const { failed } = found
  if (found.account === null && failed) endWith(failed.code, failed.detail, failed.retryAt, failed.place)

  async function readUser(): Promise<void> {
    const user = await ask(`${api}/users/${login}`)
    if (isGone(user)) endWith('identity_not_found', login)
    if (user instanceof Refused) return found.sideError(user)
    const value = jsonOf(user)
    if (isObject(value) && Number.isSafeInteger(value.id)) found.account = String(value.id)
    else found.side('response_refused', user.url)
  }
}
