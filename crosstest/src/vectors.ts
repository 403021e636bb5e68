// Runs the test vectors (SPEC.md, "Test vectors") and prints one closing line.

import { hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Chain, divergence, fork } from './chain.ts'
import * as chat from './chat.ts'
import { find, type Found, fromCompact, fromJson, fromPointer, parseCanonical } from './encoding.ts'
import { canonical, input } from './identity.ts'
import { parse, Refused, refuse } from './json.ts'
import { type Claim, jcs, time } from './object.ts'

type Vector = { kind: string; now: string; input: any; expect: string[]; output?: unknown }

/** KEZ-VER-01: the order of the verdict. */
function judge({ proof, subject, account, history, doubt }: any, now: number): undefined {
  const [found] = find(proof) as Found[]
  if (found.proof instanceof Refused) throw found.proof
  const chain = (bundle: string) => Chain.replay(utf8ToBytes(bundle), now)
  const known = typeof history === 'string' && !['absent', 'unknown'].includes(history) ? chain(history) : undefined
  const claim = typeof found.proof === 'string' ? undefined : (found.proof as Claim)
  if (claim) {
    if (claim.subject !== subject) refuse('wrong_owner')
    if (claim.account !== undefined && account && claim.account !== account) refuse('account_changed')
    if (claim.createdAt > now + 600) refuse('not_yet_valid')
  }
  if (Array.isArray(history)) {
    if (divergence(chain(history[0]), chain(history[1])) !== undefined) refuse('forked')
  }
  if (!claim) {
    if (!known) refuse('chain_unreachable')
    const listing = known.pointer(subject)
    if (listing === undefined) refuse('not_on_chain')
    if (listing === 'revoked') refuse('revoked')
    if (listing.account !== undefined && account && listing.account !== account) refuse('account_changed')
    return undefined
  }
  const beacon = claim.head && known?.events[claim.head.seq - 1]?.id
  if (beacon !== undefined && beacon !== claim.head!.id) refuse('beacon_mismatch')
  const said = known?.standing(claim)
  if (said !== undefined) refuse(said)
  if (claim.expiresAt !== undefined && claim.expiresAt <= now) refuse('expired')
  if (known) {
    if (doubt === 'rollback' || (claim.head && beacon === undefined)) refuse('rollback')
  } else if (claim.head || claim.sources.length > 0 || claim.signer !== claim.primary) {
    refuse('chain_unreachable') // KEZ-VER-02
  }
  return undefined
}

function run(vector: Vector, isChat: boolean): unknown {
  const now = time(vector.now)
  if (isChat) return chat.run(vector.kind, vector.input, now)
  if (vector.kind === 'judge') return judge(vector.input, now)
  const text = String(vector.input)
  const bytes = typeof vector.input === 'string' ? utf8ToBytes(text) : hexToBytes(vector.input.hex)
  switch (vector.kind) {
    case 'json':
      return jcs(parse(bytes))
    case 'canonical':
      return jcs(parseCanonical(bytes))
    case 'identity':
      return canonical(text)
    case 'input':
      return input(text)
    case 'claim':
      return fromJson(bytes).id
    case 'compact':
      return fromCompact(text).id
    case 'pointer':
      return fromPointer(text)
    case 'text':
      return find(text).map(({ form, proof }) => {
        if (proof instanceof Refused) throw proof
        return `${form} ${typeof proof === 'string' ? proof : (proof as Claim).id}`
      })
    case 'bundle': {
      const chain = Chain.replay(bytes, now)
      if (chain.bundle() !== text) throw new Error('another bundle')
      return `${chain.events.length} ${chain.events.at(-1)!.id}`
    }
    case 'fork':
      return fork(bytes, now)
    default:
      throw new Error(`an unknown kind: ${vector.kind}`)
  }
}

const directory = process.argv[2]
let passed = 0
let failed = 0
for (const name of readdirSync(directory, { recursive: true }).map(String).filter((n) => n.endsWith('.json')).sort()) {
  const vector: Vector = JSON.parse(readFileSync(join(directory, name), 'utf8'))
  let got = 'ok'
  let output: unknown
  try {
    output = run(vector, dirname(name) === 'chat')
  } catch (error) {
    got = error instanceof Refused ? error.code : `a defect: ${(error as Error).stack}`
  }
  const same = vector.output === undefined || JSON.stringify(vector.output) === JSON.stringify(output)
  if (vector.expect.includes(got) && (got !== 'ok' || same)) {
    passed += 1
  } else {
    failed += 1
    console.log(`${name}: wanted ${vector.expect} ${JSON.stringify(vector.output)}, got ${got} ${JSON.stringify(output)}`)
  }
}
console.log(`crosstest: ${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
