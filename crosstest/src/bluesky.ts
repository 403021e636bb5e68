// Channel `bluesky` (SPEC.md): records of the collection org.kez.proof, and the profile's description.

import { answered, type Context, endError, endWith, isGone, type Lookup, tried } from './channel.ts'
import { canonical } from './identity.ts'
import { attempt, isObject, Refused, refuse } from './json.ts'
import {
  bodyText,
  type Fetched,
  get,
  httpRefusal,
  jsonObject,
  jsonOf,
  NetworkRefused,
  type Place,
  placeOf,
} from './transport.ts'

const COLLECTION = 'org.kez.proof'
const MAX_PAGES = 5

const isDid = (text: unknown): text is string =>
  typeof text === 'string' &&
  text.startsWith('did:') &&
  !(attempt(() => canonical(`bluesky:${text}`)) instanceof Refused)

/** An answer of XRPC: its JSON, or the name and the words of its error. */
type Xrpc = { value?: any; error?: string; message?: string; code: string; place?: Place; answer?: Fetched }

async function xrpc({ t, now }: Context, url: string, found: Lookup): Promise<Xrpc> {
  const got = await tried(get(t, url, 'same host'))
  found.saw(got)
  if (got instanceof Refused) return { code: got.code, place: got instanceof NetworkRefused ? got.place : undefined }
  const place = placeOf(got)
  const value = jsonOf(got)
  if (got.status === 200)
    return isObject(value) ? { value, code: 'ok', place, answer: got } : { code: 'response_refused', place }
  const general = httpRefusal(got, now)
  if (general?.code === 'challenge' || !isObject(value) || typeof value.error !== 'string') {
    return { code: general?.code ?? 'http_status', place }
  }
  const { error, message } = value
  return {
    error,
    message: String(message ?? ''),
    code: codeOf(error, String(message ?? '')) ?? general?.code ?? 'http_status',
    place,
  }
}

/** KEZ-BSK-07: the names of errors decide. */
function codeOf(error: string, message: string): string | undefined {
  if (['RepoNotFound', 'AccountNotFound', 'ActorNotFound', 'NoSuchAccount'].includes(error)) return 'identity_not_found'
  if (error === 'InvalidRequest' && /^could not find repo/i.test(message)) return 'identity_not_found'
  if (/^(?:Repo(?:Deactivated|Suspended|Takendown)|Account(?:Deactivated|Suspended|Take[dD]own))$/.test(error)) {
    return 'account_suspended'
  }
  if (['AuthRequired', 'AuthMissing', 'AuthenticationRequired'].includes(error)) return 'auth_required'
  return error === 'RateLimitExceeded' ? 'rate_limited' : undefined
}

/** KEZ-BSK-01: three ways, of which the next is tried where one names no DID. */
async function resolve(handle: string, context: Context, found: Lookup): Promise<string> {
  const { t, now, config } = context
  let unknown: { code: string; place?: Place } | undefined
  const txt = await tried(t.txt(`_atproto.${handle}`))
  const place: Place = { url: `dns:_atproto.${handle}?type=TXT` }
  if (!(txt instanceof Refused)) place.rcode = txt.rcode
  found.current = place
  if (txt instanceof Refused) unknown ??= { code: txt.code, place }
  else if (txt.rcode !== 0 && txt.rcode !== 3) unknown ??= { code: 'dns_failed', place }
  else {
    const dids = new Set(txt.records.filter((r) => r.startsWith('did=')).map((r) => r.slice(4)))
    if (dids.size > 1) endWith('handle_mismatch', [...dids].join(', ')) // KEZ-BSK-04
    const [did] = dids
    if (isDid(did)) return did
    if (did !== undefined) endWith('response_refused', did)
  }
  const got = await answered(get(t, `https://${handle}/.well-known/atproto-did`, 'public'), now, found)
  if (!(got instanceof Refused)) {
    const did = bodyText(got).trim()
    if (isDid(did)) return did
    unknown ??= { code: 'response_refused', place: placeOf(got) }
  } else if (!isGone(got) && got.code !== 'host_unknown') {
    unknown ??= { code: got.code, place: found.current }
  }
  const url = `${config.appview}/xrpc/com.atproto.identity.resolveHandle?handle=${encodeURIComponent(handle)}`
  const said = await xrpc(context, url, found)
  if (isDid(said.value?.did)) return said.value.did
  if (said.code === 'ok') endWith('response_refused', 'no DID')
  const named = /handle/i.test(said.message ?? '')
  const none = said.error === 'HandleNotFound' || (said.error === 'InvalidRequest' && named)
  const code = none ? 'identity_not_found' : said.code
  return endWith(unknown?.code ?? code, said.message, undefined, unknown?.place ?? said.place)
}

export async function bluesky(asked: string, context: Context, found: Lookup): Promise<void> {
  const { t, now, config } = context
  const handle = asked.startsWith('did:') ? undefined : asked
  const did = handle === undefined ? asked : await resolve(handle, context, found)
  const at = did.startsWith('did:web:')
    ? get(t, `https://${did.slice(8)}/.well-known/did.json`, 'public')
    : get(t, `${config.plc}/${did}`, 'same host')
  const got = await answered(at, now, found)
  if (isGone(got)) endWith('identity_not_found', did)
  if (got instanceof Refused) endError(got)
  const document = jsonObject(got as Fetched, did.startsWith('did:web:'))
  if (document.id !== did) refuse('response_refused', 'another DID') // KEZ-BSK-05
  const services: any[] = Array.isArray(document.service) ? document.service : []
  const service = services.find((s) => isObject(s) && String(s.id).endsWith('#atproto_pds')) // KEZ-BSK-06
  const pds =
    typeof service?.serviceEndpoint === 'string' ? service.serviceEndpoint : refuse('response_refused', 'no PDS')
  const names: any[] = Array.isArray(document.alsoKnownAs) ? document.alsoKnownAs : []
  const first = names.find((n) => typeof n === 'string' && n.startsWith('at://'))
  if (handle !== undefined && first?.slice(5).toLowerCase() !== handle) endWith('handle_mismatch', first) // KEZ-BSK-02
  found.account = did

  const base = pds.replace(/\/+$/, '')
  const records = `${base}/xrpc/com.atproto.repo.listRecords?repo=${encodeURIComponent(did)}&collection=${COLLECTION}&limit=100`
  let cursor: string | undefined
  for (let page = 1; ; page += 1) {
    const url = cursor === undefined ? records : `${records}&cursor=${encodeURIComponent(cursor)}`
    const said = await xrpc(context, url, found)
    if (page === 1) found.place = said.place ?? { url }
    if (said.error === 'RecordNotFound') break
    if (['identity_not_found', 'account_suspended'].includes(said.code)) endWith(said.code, said.message)
    if (said.value === undefined) {
      found.side(said.code, said.message)
      break
    }
    for (const record of Array.isArray(said.value.records) ? said.value.records : []) {
      if (!isObject(record) || !String(record.uri).startsWith(`at://${did}/${COLLECTION}/`)) continue // KEZ-BSK-03
      const proof = record.value?.proof
      if (typeof proof === 'string') found.add(proof, said.answer!)
      else found.side('proof_malformed', `no member "proof": ${record.uri}`)
    }
    const next = said.value.cursor
    if (typeof next !== 'string') break
    if (next === cursor || page === MAX_PAGES) {
      found.side('search_incomplete', 'pages of records', undefined, found.place ?? undefined)
      break
    }
    cursor = next
  }

  const profile = `${base}/xrpc/com.atproto.repo.getRecord?repo=${encodeURIComponent(did)}&collection=app.bsky.actor.profile&rkey=self`
  const said = await xrpc(context, profile, found)
  const text = said.value?.value?.description
  if (typeof text === 'string') found.add(text, said.answer!)
  const none = said.error === 'RecordNotFound' || /could not locate record/i.test(said.message ?? '')
  if (said.value === undefined && !none) found.side(said.code, said.message)
}
