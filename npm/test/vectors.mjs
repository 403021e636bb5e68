// Runs the test vectors of kez-core through the package. Whoever imports this says which build:
// the same function runs under Node, Deno, Bun, Chromium and Firefox.

const utf8 = new TextEncoder()
const bytesOf = (input) =>
  typeof input === 'string'
    ? utf8.encode(input)
    : Uint8Array.from(input.hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))

function run(kez, { kind, now, input, report }) {
  const at = Date.parse(now)
  const replay = (bundle) => kez.Chain.replay(bundle, { now: at })
  if (kind === 'judge') {
    const { subject, account, history, rolled_back: rolledBack } = input
    const known = ['absent', 'unchecked', 'unknown'].includes(history)
      ? history
      : Array.isArray(history)
        ? history.map(replay)
        : replay(history)
    const got = kez.judge(input.proof, { subject, account, history: known, rolledBack, now: at })
    const text = JSON.stringify(got)
    if (text !== report) throw new Error(`another report: ${text}`)
    if (got.reason) throw Object.assign(new Error(), { code: got.reason })
    return undefined
  }
  const bytes = bytesOf(input)
  switch (kind) {
    case 'json':
      return kez.canonicalize(bytes)
    case 'canonical':
      return kez.canonicalize(bytes, { canonical: true })
    case 'identity':
      return kez.canonicalIdentity(input)
    case 'input':
      return kez.parseIdentity(input)
    case 'claim':
      return kez.Claim.fromJson(bytes).id
    case 'compact':
      return kez.Claim.fromCompact(input).id
    case 'pointer':
      return kez.parsePointer(input)
    case 'text':
      return kez.findProofs(input).map((found) => {
        if (found.error) throw found.error
        return `${found.encoding} ${found.claim ?? found.primary}`
      })
    case 'bundle': {
      const chain = replay(bytes)
      if (chain.export() !== input) throw new Error('another bundle')
      return `${chain.head.seq} ${chain.head.id}`
    }
    case 'fork':
      return kez.verifyFork(bytes, { now: at }).settled ? 'settled' : 'open'
  }
  throw new Error(`an unknown kind: ${kind}`)
}

/** Runs vectors given by name; gives how many passed, and what was wrong with the others. */
export function runVectors(kez, vectors) {
  const wrong = []
  let passed = 0
  for (const [name, vector] of Object.entries(vectors)) {
    let got = 'ok'
    let output
    try {
      output = run(kez, vector)
    } catch (error) {
      got = error.code ?? `a defect: ${error.stack}`
    }
    const same = vector.output === undefined || JSON.stringify(vector.output) === JSON.stringify(output)
    if (got === vector.expect && (got !== 'ok' || same)) passed += 1
    else wrong.push(`${name}: wanted ${vector.expect}, got ${got} ${JSON.stringify(output)}`)
  }
  return { passed, wrong }
}
