// A small command, so that the implementations can be held against each other. Secret keys come as
// hex on stdin, one a line, before anything else that is read there.
//
//   cli.ts claim <type> <subject> <form>   a secret; prints a claim as json, compact, markdown, dns or pointer
//   cli.ts read                            a proof in any form; prints its id, or the primary of a pointer
//   cli.ts chain <type> <what>             secrets; prints a bundle of what is named:
//       three     add dns:example.com, add github:jason, revoke github:jason   (owner)
//       devices   add, add a device with chat/1, revoke the device             (owner, device)
//       rotate    add with a commitment, rotate to the committed key, add      (owner, next)
//   cli.ts append <type> <subject>         a secret and a bundle; prints the bundle with one more event
//   cli.ts commitment <type>               a secret; prints the commitment to its key
//   cli.ts show                            a bundle; prints "<seq> <id>"
//   cli.ts export                          a bundle; prints it as this implementation writes it
//   cli.ts merge <bundle> <bundle>         prints "same", or "forked <seq>"

import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { readFileSync } from 'node:fs'
import { Chain } from './chain.ts'
import { findProofs } from './encoding.ts'
import { commitment } from './event.ts'
import { merge } from './fork.ts'
import { input } from './input.ts'
import { type Json, type JsonObject, Refused } from './json.ts'
import { type Claim, digest, jcs } from './object.ts'
import { encode, seal, type Signer, signer, utcNow } from './write.ts'

const [command, ...args] = process.argv.slice(2)
const now = Math.floor(Date.now() / 1000)
const stdin = () => readFileSync(0, 'utf8')
const replay = (bundle: string) => Chain.replay(utf8ToBytes(bundle), now)
const headOf = (chain: Chain) => `${chain.events.length} ${chain.events.at(-1)!.id}`

/** The bundle with one more event. */
function append(bundle: string, primary: string, op: JsonObject, signers: Signer[], next?: string): string {
  const chain = bundle === '' ? undefined : replay(bundle)
  const payload: JsonObject = {
    type: 'event',
    chain: chain?.name ?? primary,
    seq: (chain?.events.length ?? 0) + 1,
    prev: chain?.events.at(-1)!.id ?? null,
    created_at: utcNow(),
    op,
  }
  if (next !== undefined) payload.next = next
  return `${bundle}${jcs(seal(payload, signers))}\n`
}

const add = (subject: string): JsonObject => ({
  type: 'add',
  subject,
  claim: bytesToHex(digest('claim', subject)),
})

function build(type: string, what: string, secrets: string[]): string {
  const owner = signer(type, secrets[0]!)
  const one = append('', owner.key, add('dns:example.com'), [owner])
  switch (what) {
    case 'three': {
      const two = append(one, owner.key, add('github:jason'), [owner])
      return append(two, owner.key, { type: 'revoke', subject: 'github:jason', reason: 'retired' }, [owner])
    }
    case 'devices': {
      const device = signer('ed25519', secrets[1]!)
      const op: Json = { type: 'add_device', device: device.key, caps: ['chat/1'] }
      const two = append(one, owner.key, op, [owner, device])
      return append(two, owner.key, { type: 'revoke_device', device: device.key, reason: 'retired' }, [owner])
    }
    case 'rotate': {
      const next = signer(type, secrets[1]!)
      const committed = append('', owner.key, add('dns:example.com'), [owner], commitment(next.key))
      const op: Json = { type: 'rotate', to: next.key, reason: 'superseded' }
      const two = append(committed, owner.key, op, [next])
      return append(two, owner.key, add('github:jason'), [next])
    }
  }
  throw new Error('three, devices or rotate')
}

function run(): string {
  switch (command) {
    case 'claim': {
      const [type, subject, form] = args as [string, string, string]
      const owner = signer(type, stdin().trim())
      const payload = { type: 'claim', subject: input(subject), primary: owner.key, created_at: utcNow() }
      return encode(seal(payload, [owner]), form)
    }
    case 'read': {
      // A zone-file line's strings are joined.
      const given = stdin()
      const strings = / TXT ((?:"[^"]*"\s*)+)/.exec(given)?.[1]
      const text = strings ? [...strings.matchAll(/"([^"]*)"/g)].map((m) => m[1]).join('') : given
      const [found] = findProofs(text).candidates
      if (!found) throw new Refused('proof_not_found')
      if (found.proof instanceof Refused) throw found.proof
      return typeof found.proof === 'string' ? found.proof : (found.proof as Claim).id
    }
    case 'chain':
      return build(args[0]!, args[1]!, stdin().trim().split('\n')).trimEnd()
    case 'append': {
      const [secret, ...lines] = stdin().split('\n')
      const owner = signer(args[0]!, secret!)
      return append(lines.join('\n'), owner.key, add(input(args[1]!)), [owner]).trimEnd()
    }
    case 'commitment':
      return commitment(signer(args[0]!, stdin().trim()).key)
    case 'show':
      return headOf(replay(stdin()))
    case 'export':
      return replay(stdin()).bundle().trimEnd()
    case 'merge': {
      const [a, b] = args.map((file) => replay(readFileSync(file, 'utf8')))
      const merged = merge([a!, b!])
      return 'fork' in merged ? `forked ${merged.fork}` : 'same'
    }
    default:
      throw new Error('claim, read, chain, append, show, export or merge')
  }
}

try {
  console.log(run())
} catch (error) {
  console.log(error instanceof Refused ? error.code : (error as Error).stack)
  process.exitCode = 1
}
