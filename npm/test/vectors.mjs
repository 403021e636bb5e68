// Runs the test vectors of kez-core through the package. Whoever imports this says which build:
// the same function runs under Node, Deno, Bun, Chromium and Firefox.

const utf8 = new TextEncoder()
const bytesOf = (input) =>
  typeof input === 'string'
    ? utf8.encode(input)
    : Uint8Array.from(input.hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))

/** Kinds that need parts which the package does not give by themselves, such as a transport. */
const NATIVE = ['parse-input', 'resolve', 'prefix', 'merge', 'sources', 'verify', 'channel', 'graph', 'log']

/** Whether the package can run a vector. */
const runs = ({ kind, input }) =>
  !NATIVE.includes(kind) &&
  (kind !== 'judge' ||
    (['rollback', undefined].includes(input.doubt) && !input.unchecked && !input.settled && !input.refused))

/** Where two values differ first, by the path of members; `any` lists acceptable values. */
function difference(path, wanted, got) {
  const shown = () => `${path}: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`
  if (wanted === null || got === null || typeof wanted !== 'object' || typeof got !== 'object') {
    if (Array.isArray(wanted?.any)) return wanted.any.includes(got) ? undefined : shown()
    return wanted === got ? undefined : shown()
  }
  if (Array.isArray(wanted) && wanted.length !== got.length) return shown()
  for (const name of new Set([...Object.keys(wanted), ...Object.keys(got)])) {
    const what = difference(`${path}.${name}`, wanted[name], got[name])
    if (what) return what
  }
  return undefined
}

function run(kez, { kind, now, input }) {
  const at = Date.parse(now)
  const replay = (bundle) => kez.Chain.replay(bundle, { now: at })
  if (kind === 'judge') {
    const { subject, account, history, doubt } = input
    const known = ['absent', 'unchecked', 'unknown'].includes(history)
      ? history
      : Array.isArray(history)
        ? history.map(replay)
        : replay(history)
    const rolledBack = doubt === 'rollback'
    const { detail: _, ...report } = kez.judge(input.proof, { subject, account: account ?? undefined, history: known, rolledBack, now: at })
    return [report.reason ?? 'ok', report]
  }
  return ['ok', value(kez, { kind, at, input, replay })]
}

/** Runs a vector of a kind that gives one value. */
function value(kez, { kind, at, input, replay }) {
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
    case 'search':
      return {
        candidates: kez.findProofs(input).map(({ encoding, claim, primary, error }) =>
          error ? { code: error.code } : claim ? { encoding, claim } : { encoding, primary },
        ),
      }
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

/** What is compared: of a search without what the package does not say. */
function wantedOf({ kind, output, report }) {
  if (kind !== 'search') return report ?? output
  const { candidates } = output
  return { candidates: candidates.map((found) => (found.code ? { code: found.code } : found)) }
}

/** Runs vectors given by name; gives how many passed, and what was wrong with the others. */
export function runVectors(kez, vectors) {
  const wrong = []
  let passed = 0
  for (const [name, vector] of Object.entries(vectors)) {
    if (!runs(vector)) continue
    let got
    let output
    try {
      ;[got, output] = run(kez, vector)
    } catch (error) {
      got = error.code ?? `a defect: ${error.stack}`
    }
    const wanted = wantedOf(vector)
    const differs = wanted === undefined ? undefined : difference('output', wanted, output)
    if (vector.expect.includes(got) && !differs) passed += 1
    else wrong.push(`${name}: wanted ${vector.expect}, got ${got}; ${differs}`)
  }
  return { passed, wrong }
}

/** How many of these vectors the package can run. */
export const countOf = (vectors) => Object.values(vectors).filter(runs).length
