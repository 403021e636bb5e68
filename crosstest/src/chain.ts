// The state of a chain, its replay, and what it says of a claim (SPEC.md, "Sigchain").

import { keyBytes } from './identity.ts'
import { attempt, Refused, refuse } from './json.ts'
import { commitment, type Event, readLine } from './event.ts'
import * as o from './object.ts'

export type Revocation = { seq: number; at: number; reason: string }
export type Listing = { claim: string; subject: string; seq: number; addedAt: number; account?: string; url?: string }
export type Period = { key: string; from: number; until?: number; since?: number }
export type Device = { seq: number; caps: string[]; notAfter?: number; name?: string; revocation?: Revocation }
export type Standing = { code?: string; unlisted?: boolean; revocation?: Revocation; stranger?: boolean }

const MAX_BUNDLE = 32 * 1024 * 1024
const MAX_EVENTS = 10_000

export class Chain {
  name: string
  events: Event[] = []
  periods: Period[]
  next: string | undefined
  /** The commitment after each event; the first entry is that of the empty chain. */
  commitments: (string | undefined)[] = [undefined]
  listings = new Map<string, Listing>()
  voidClaims = new Set<string>()
  claimRevocations = new Map<string, Revocation[]>()
  subjectRevocations = new Map<string, Revocation[]>()
  devices = new Map<string, Device>()
  used: Set<string>
  skipped: number[] = []

  constructor(name: string) {
    this.name = name
    this.periods = [{ key: name, from: 1 }]
    this.used = new Set([name])
  }

  get period(): Period {
    return this.periods.at(-1)!
  }

  get head(): o.Head | null {
    const last = this.events.at(-1)
    return last ? { seq: last.seq, id: last.id } : null
  }

  /** The algorithm `replay`, and what had been verified before a line broke it. */
  static prefix(bytes: Uint8Array, clock: number, name?: string): { chain?: Chain; error?: Refused } {
    if (bytes.length > MAX_BUNDLE) return { error: new Refused('too_large') }
    let chain = name === undefined ? undefined : new Chain(name)
    for (let start = 0; start < bytes.length;) {
      const end = bytes.indexOf(10, start)
      const line = bytes.subarray(start, end < 0 ? 0 : end)
      const step = attempt(() => {
        if (end < 0 || line.length === 0 || line.at(-1) === 13) refuse('line_syntax') // KEZ-CHN-01
        const read = readLine(line)
        if (chain === undefined) keyBytes(read.event.chain)
        const target = chain ?? new Chain(read.event.chain)
        target.append(read, clock)
        return target
      })
      if (step instanceof Refused) return { chain, error: step }
      chain = step
      start = end + 1
    }
    return chain && chain.events.length > 0 ? { chain } : { chain, error: new Refused('chain_empty') }
  }

  static replay(bytes: Uint8Array, clock: number, name?: string): Chain {
    const { chain, error } = Chain.prefix(bytes, clock, name)
    if (error) throw error
    return chain!
  }

  /** Steps 2g to 2r. */
  append({ event, object }: { event: Event; object: o.Envelope }, clock: number): void {
    const { op } = event
    const n = this.events.length + 1
    const last = this.events.at(-1)
    if (event.chain !== this.name) refuse('chain_id') // KEZ-CHN-03
    if (n > MAX_EVENTS) refuse('too_large') // KEZ-CHN-02
    if (event.seq !== n) refuse('chain_seq')
    if (event.prev !== (last?.id ?? null)) refuse('chain_prev')
    if (last && event.at < last.at) refuse('chain_time')
    if (event.at > clock + 600) refuse('chain_future')
    if (event.next !== undefined && this.next !== undefined && op.type !== 'rotate') refuse('next_refused')
    const signers = this.#signers(event, n)
    this.#checkCommitment(event)
    const same = signers.length === object.sigs.length && signers.every((key, i) => key === object.sigs[i].key)
    if (!same) refuse('chain_signer') // KEZ-CHN-07
    for (const sig of object.sigs) o.verifySignature(object, sig)
    this.apply(event)
  }

  /** Steps 2n and 2p: whether the operation fits, and who signs it. */
  #signers({ op, critical }: Event, n: number): string[] {
    const current = this.period.key
    switch (op.type) {
      case 'add':
        return this.listings.has(op.claim) ? refuse('claim_listed') : [current]
      case 'rotate': {
        if (this.used.has(op.to)) refuse('key_used') // KEZ-CHN-13
        const { since } = op
        if (since !== undefined && (since < this.period.from || since > n - 1)) refuse('compromise_refused')
        if (this.next === undefined) return [current, op.to]
        return this.next === commitment(op.to) ? [op.to] : refuse('next_mismatch') // KEZ-CHN-12
      }
      case 'add_device':
        return this.used.has(op.device) ? refuse('key_used') : [current, op.device]
      case 'revoke_device': {
        const device = this.devices.get(op.device)
        return device === undefined || device.revocation ? refuse('device_unknown') : [current]
      }
      case 'unknown':
        return critical === false ? [current] : refuse('op_unknown') // KEZ-CHN-17
      default:
        return [current]
    }
  }

  /** Step 2o: the key that is committed to after the event was never part of the chain (KEZ-CHN-27). */
  #checkCommitment({ op, next }: Event): void {
    const committed = op.type === 'rotate' ? next : (next ?? this.next)
    const added = op.type === 'rotate' ? [op.to] : op.type === 'add_device' ? [op.device] : []
    if ([...this.used, ...added].some((key) => commitment(key) === committed)) refuse('key_used')
  }

  apply(event: Event): void {
    const { op, seq, at } = event
    if (event.next !== undefined) this.next = event.next
    this.events.push(event)
    if (op.type === 'add') {
      const { subject, claim, account, url } = op
      this.listings.set(claim, { claim, subject, seq, addedAt: at, account, url })
      this.voidClaims.delete(claim)
    } else if (op.type === 'revoke') {
      const [map, name] = this.#list(op)
      map.set(name, [...(map.get(name) ?? []), { seq, at, reason: op.reason }])
    } else if (op.type === 'rotate') {
      Object.assign(this.period, { until: seq, since: op.since })
      this.periods.push({ key: op.to, from: seq + 1 })
      this.used.add(op.to)
      this.next = event.next
      if (op.since !== undefined) this.#void(op.since, seq - 1)
    } else if (op.type === 'add_device') {
      this.devices.set(op.device, { seq, caps: op.caps, notAfter: op.notAfter, name: op.name })
      this.used.add(op.device)
    } else if (op.type === 'revoke_device') {
      this.devices.get(op.device)!.revocation = { seq, at, reason: op.reason }
    } else {
      this.skipped.push(seq)
    }
    this.commitments.push(this.next)
  }

  #list(op: { claim?: string; subject?: string }): [Map<string, Revocation[]>, string] {
    return op.claim !== undefined ? [this.claimRevocations, op.claim] : [this.subjectRevocations, op.subject!]
  }

  /** KEZ-CHN-14: what a thief may have signed is undone; the events stay in the chain. */
  #void(first: number, last: number): void {
    for (const { op, seq } of this.events.slice(first - 1, last)) {
      if (op.type === 'add') {
        this.listings.delete(op.claim)
        this.voidClaims.add(op.claim)
      } else if (op.type === 'revoke') {
        const [map, name] = this.#list(op)
        map.set(
          name,
          (map.get(name) ?? []).filter((r) => r.seq !== seq),
        )
      } else if (op.type === 'add_device') {
        this.devices.delete(op.device)
      } else if (op.type === 'revoke_device') {
        const device = this.devices.get(op.device)
        if (device) device.revocation = undefined
      }
    }
  }

  /** The chain as it was after n events. They were verified before. */
  first(n: number): Chain {
    const chain = new Chain(this.name)
    for (const event of this.events.slice(0, n)) chain.apply(event)
    return chain
  }

  /** KEZ-FRK-05 */
  cutAt(now: number): Chain {
    const after = this.events.findIndex((e) => e.at > now)
    return after < 0 ? this : this.first(after)
  }

  beginsWith(other: Chain): boolean {
    const n = other.events.length
    return n === 0 || this.events[n - 1]?.id === other.events[n - 1].id
  }

  revocation({ claim, subject, seq }: Listing): Revocation | undefined {
    const byId = this.claimRevocations.get(claim)?.[0]
    const bySubject = this.subjectRevocations.get(subject)?.find((r) => r.seq > seq)
    if (!byId || !bySubject) return byId ?? bySubject
    return byId.seq < bySubject.seq ? byId : bySubject
  }

  /** The algorithm `standing`; KEZ-CHN-18 to 21. */
  standing(claim: o.Claim): Standing {
    const period = this.periods.find((p) => p.key === claim.signer)
    if (!period) return { code: 'chain_signer', stranger: true }
    const listing = this.listings.get(claim.id)
    if (listing) {
      if (listing.subject !== claim.subject) return { code: 'listing_mismatch' }
      const revocation = this.revocation(listing)
      if (revocation) return { code: 'revoked', revocation }
      if (listing.seq < period.from) return { code: 'chain_signer' }
      return period.until !== undefined && listing.seq >= period.until ? { code: 'key_rotated' } : {}
    }
    const byId = this.claimRevocations.get(claim.id)?.[0]
    if (byId) return { code: 'revoked', revocation: byId }
    const bySubject = this.subjectRevocations.get(claim.subject)?.findLast((r) => claim.createdAt <= r.at)
    if (bySubject) return { code: 'revoked', revocation: bySubject }
    if (this.voidClaims.has(claim.id)) return { code: 'key_compromised' }
    if (period.until === undefined) return { unlisted: true }
    return { code: period.since === undefined ? 'key_rotated' : 'key_compromised' }
  }

  /** Whether a device is in force at a time. */
  inForce(device: string, at: number): boolean {
    const known = this.devices.get(device)
    return known !== undefined && !known.revocation && (known.notAfter === undefined || known.notAfter > at)
  }

  bundle(): string {
    return this.events.map(({ line }) => `${line}\n`).join('')
  }
}
