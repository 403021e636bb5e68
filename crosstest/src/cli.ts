// A small command, so that the two implementations can be held against each other:
//
//   cli.ts claim <type> <subject>   the secret key's hex on stdin; prints a compact claim
//   cli.ts read                     a proof in any encoding on stdin; prints its id or its primary
//   cli.ts replay                   a bundle on stdin; prints "<seq> <id>"
//   cli.ts append <type> <subject>  the secret key's hex and a bundle on stdin; prints the bundle with
//                                   one more event, an `add` of a claim that is named by its subject

import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { readFileSync } from 'node:fs'
import { Chain } from './chain.ts'
import { find } from './encoding.ts'
import { input } from './identity.ts'
import { type JsonObject, Refused } from './json.ts'
import { type Claim, digest, jcs } from './object.ts'
import { seal, signer, toCompact, utcNow } from './write.ts'

const [command, type, subject] = process.argv.slice(2)
const stdin = readFileSync(0, 'utf8')
const now = Math.floor(Date.now() / 1000)

function run(): string {
  switch (command) {
    case 'claim': {
      const owner = signer(type, stdin.trim())
      const payload = { type: 'claim', subject: input(subject), primary: owner.key, created_at: utcNow() }
      return toCompact(seal(payload, [owner]))
    }
    case 'read': {
      // A zone-file line's strings are joined.
      const strings = / TXT ((?:"[^"]*"\s*)+)/.exec(stdin)?.[1]
      const text = strings ? [...strings.matchAll(/"([^"]*)"/g)].map((m) => m[1]).join('') : stdin
      const [found] = find(text)
      if (!found) throw new Refused('proof_not_found')
      if (found.proof instanceof Refused) throw found.proof
      return typeof found.proof === 'string' ? found.proof : (found.proof as Claim).id
    }
    case 'replay': {
      const chain = Chain.replay(utf8ToBytes(stdin), now)
      return `${chain.events.length} ${chain.events.at(-1)!.id}`
    }
    case 'append': {
      const [secret, ...lines] = stdin.split('\n')
      const bundle = lines.join('\n')
      const chain = Chain.replay(utf8ToBytes(bundle), now)
      const last = chain.events.at(-1)!
      const claim = bytesToHex(digest('claim', subject))
      const payload: JsonObject = {
        type: 'event',
        chain: chain.name,
        seq: last.seq + 1,
        prev: last.id,
        created_at: utcNow(),
        op: { type: 'add', subject: input(subject), claim },
      }
      return `${bundle}${jcs(seal(payload, [signer(type, secret)]))}`
    }
    default:
      throw new Error('claim, read, replay or append')
  }
}

try {
  console.log(run())
} catch (error) {
  console.log(error instanceof Refused ? error.code : (error as Error).message)
  process.exitCode = 1
}
