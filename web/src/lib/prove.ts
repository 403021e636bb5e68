/** Proofs in the making: they survive leaving the page, and end on the sigchain. */
import { Claim, KezError, parseIdentity, type Report, verify, verifyProof } from 'kez'
import { type Channel, CHANNELS } from './channels.ts'
import { me, type Published } from './me.svelte.ts'
import { sigServers, verifyOptions } from './settings.ts'
import { load, save } from './store.ts'

export const SERVICES = ['github', 'dns', 'bluesky', 'ap', 'nostr'] as const
export type Service = (typeof SERVICES)[number]

export interface Pending {
  service: Service
  subject: string
  /** The signed claim, as JSON, and its id. */
  claim: string
  id: string
  /** What is to be pasted. */
  text: string
  account?: string
  /** Where it was posted, if the user said so. */
  url?: string
  /** The event that lists it, signed to follow this head; it is appended once the proof is found. */
  event: string
  after: string | null
  since: number
}

const channelOf = (service: Service): Channel | undefined => CHANNELS.find(({ scheme }) => scheme === service)

/** Where a profile has no room for a claim, a pointer to the identity stands for it. */
export const isPointer = (service: Service) => channelOf(service)?.byPointer === true

/** The identity that a user means who was asked for an account of a service. */
export function subjectOf(service: Service, input: string): string {
  const text = input.trim()
  const bare = /^[a-z]+:/.test(text) || service === 'ap' || service === 'nostr' ? text : `${service}:${text.replace(/^@/, '')}`
  const subject = parseIdentity(bare)
  if (!subject.startsWith(`${service}:`)) throw new KezError('identity_refused', subject)
  return subject
}

/** The page on which the text is to be put. */
export function placeOf({ service, subject }: Pick<Pending, 'service' | 'subject'>): string | undefined {
  const value = subject.slice(subject.indexOf(':') + 1)
  const [name = value, host = value] = value.split('@')
  const page = channelOf(service)?.editPage ?? undefined
  return page?.replace('{value}', value).replace('{name}', name).replace('{host}', host)
}

export const pending = async (): Promise<Pending[]> => (await load<Pending[]>('pending')) ?? []
const keep = async (one: Pending) => save({ pending: [...(await pending()).filter((p) => p.subject !== one.subject), one] })
export const drop = async (subject: string) => save({ pending: (await pending()).filter((p) => p.subject !== subject) })

const headNow = () => me.chain.head?.id ?? null

/** Looks the account up on its platform: its number there goes into the claim. */
export async function lookUp(subject: string): Promise<Report> {
  const [report] = await verify(subject, verifyOptions())
  if (report?.reason === 'identity_not_found') throw new KezError('identity_not_found', subject, { kind: 'proof' })
  return report as Report
}

/** Signs the claim, and the event that will list it. */
export async function begin(service: Service, subject: string, account: string | null): Promise<Pending> {
  const more = account === null ? {} : { account }
  const sources = sigServers().map((server) => me.chain.urlAt(server)).filter((url) => url.startsWith('https://'))
  const claim = await Claim.create({ subject, signer: me.signer, chain: me.chain, sources, ...more })
  const proof = await listed({
    service,
    subject,
    claim: claim.encode('json'),
    id: claim.id,
    text: claim.encode(isPointer(service) ? 'pointer' : 'compact'),
    since: Date.now(),
    event: '',
    after: null,
    ...more,
  })
  claim.free()
  return proof
}

/** Signs the event that lists a claim after the head that the chain has now. */
async function listed(proof: Pending): Promise<Pending> {
  const { subject, id: claim, account, url } = proof
  const more = { ...(account === undefined ? {} : { account }), ...(url === undefined ? {} : { url }) }
  const event = await me.prepare({ type: 'add', subject, claim, ...more })
  const made = { ...proof, event, after: headNow() }
  await keep(made)
  return made
}

/**
 * Looks whether the proof is there, as everybody will see it: with the event that lists it on the chain.
 * Only then the event is appended and published.
 */
export async function check(given: Pending): Promise<{ report: Report | undefined; published?: Published }> {
  const proof = given.after === headNow() ? given : await listed(given)
  const chain = await me.with(proof.event)
  // Nothing of this is remembered: the chain that is looked with may never come to be.
  // Another owner's proof of the account says nothing about this one.
  const [report] = await verify(proof.subject, { ...verifyOptions(), bundles: [chain], by: me.stored?.primary })
  if (report?.status !== 'valid' || report.claim !== proof.id) return { report }
  const published = await me.accept(proof.event)
  await drop(proof.subject)
  return { report, published }
}

/** Whether a text that the user pastes has the proof whole, or is the address of the post. */
export async function examine(proof: Pending, given: string): Promise<'whole' | 'broken' | 'address'> {
  const text = given.trim()
  if (/^https:\/\/\S+$/.test(text)) {
    await listed({ ...proof, url: text })
    return 'address'
  }
  const reports = await verifyProof(text, { ...verifyOptions(), bundles: [await me.with(proof.event)], subject: proof.subject }).catch(() => [])
  return reports.some(({ primary, status }) => primary === me.stored?.primary && status !== 'invalid') ? 'whole' : 'broken'
}
