// What the extension says, from what was found and what was seen before.
import assert from 'node:assert/strict'
import test from 'node:test'
import { changes, joined, pinOf, verdictOf } from '../extension/src/verdict.ts'

const KEY = 'ed25519:one'
const OTHER = 'ed25519:two'
const A = 'github:a'
const B = 'dns:b.example'
const edge = (subject, status = 'valid', more = {}) => ({ subject, status, primary: KEY, claim: `claim of ${subject}`, reason: status === 'valid' ? null : status, retry_at: null, notes: [], ...more })
const graph = (edges, more = {}) => ({ primary: KEY, chain: 'known', reason: null, head: { seq: 2, id: 'b' }, keys: [{ key: KEY }], query: A, contested_by: [], edges, ...more })
const known = (edges, more = {}, checked = '2026-11-01T00:00:00Z') => ({ graph: more === null ? null : graph(edges, more), edges, checked })
const both = known([edge(A), edge(B)])
const pin = pinOf(A, both, undefined)

test('what is proven is pinned, and first seen once', () => {
  assert.deepEqual(pin, { primary: KEY, key: KEY, head: { seq: 2, id: 'b' }, accounts: [A, B], first: '2026-11-01T00:00:00Z' })
  assert.equal(pinOf(A, known([edge(A)], {}, '2026-11-05T00:00:00Z'), pin).first, pin.first)
  // What could not be asked today stays pinned; another identity begins anew.
  assert.deepEqual(pinOf(A, known([edge(A), edge(B, 'unreachable')]), pin).accounts, [A, B])
  assert.equal(pinOf(A, known([edge(A, 'valid')], { primary: 'ed25519:two' }, '2026-11-05T00:00:00Z'), pin).first, '2026-11-05T00:00:00Z')
  assert.equal(pinOf(A, known([edge(A, 'revoked')]), pin), undefined)
  assert.equal(pinOf(A, known([edge(A)], null), pin), undefined)
})

test('every change is told, and nothing else', () => {
  const told = (now) => changes(A, now, pin).map(({ what }) => what)
  assert.deepEqual(told(both), [])
  assert.deepEqual(told(known([edge(A), edge(B), edge('ap:c@d.example')], { head: { seq: 3, id: 'c' } })), [])
  assert.deepEqual(told(known([edge(A), edge(B, 'unreachable')])), [])
  assert.deepEqual(told(known([edge(A), edge(B, 'revoked')])), ['lost'])
  assert.deepEqual(told(known([edge(A)])), ['lost'])
  assert.deepEqual(told(known([edge(A), edge(B)], { keys: [{ key: KEY }, { key: 'ed25519:next' }] })), ['key'])
  assert.deepEqual(told(known([edge(A), edge(B)], { head: { seq: 1, id: 'a' } })), ['shorter'])
  assert.deepEqual(told(known([edge(A), edge(B)], { head: { seq: 2, id: 'x' } })), ['shorter'])
  assert.deepEqual(told(known([edge(A), edge(B)], { reason: 'rollback' })), ['shorter'])
  assert.deepEqual(told(known([edge(A, 'valid', { primary: 'ed25519:two' })], { primary: 'ed25519:two' })), ['primary'])
  assert.deepEqual(told(known([edge(A, 'invalid', { reason: 'proof_not_found', primary: null })], null)), ['lost'])
  // Of others only the platform was asked, which says nothing of them.
  assert.deepEqual(told(known([edge(A)], null)), [])
})

test('each ending has its words', () => {
  const said = (status, more) => verdictOf(A, known([edge(A, status, more), edge(B)]), undefined)
  assert.deepEqual([said('valid').state, said('valid').valid, said('valid').all], ['verified', 2, 2])
  for (const [status, word] of [['invalid', 'contradicted'], ['revoked', 'revoked'], ['expired', 'expired'], ['fork', 'forked']]) {
    assert.deepEqual([said(status).state, said(status).word], ['contradicted', word])
  }
  assert.equal(said('invalid', { reason: 'proof_not_found' }), null)
  assert.equal(said('unreachable').word, 'unreachable')
  assert.equal(said('unreachable', { retry_at: '2026-11-01T01:00:00Z' }).word, 'limited')
  // Silent where nothing of KEZ was ever seen.
  assert.equal(said('unreachable', { primary: null }).quiet, true)
  assert.equal(verdictOf(A, known([edge(A, 'unreachable', { primary: null })]), pin).quiet, false)
  assert.equal(verdictOf(A, known([edge(A, 'unreachable')], null), undefined).word, 'unchecked')
  assert.equal(verdictOf(A, known([edge(A)], { chain: 'fork' }), undefined).word, 'forked')
  // A key that is the identity itself.
  assert.equal(verdictOf(KEY, both, undefined).state, 'verified')
  assert.equal(verdictOf(KEY, known([]), undefined), null)
  assert.equal(verdictOf('github:other', both, undefined), null)
})

const contested = { notes: ['contested'] }
const disputed = (...others) => known([edge(A, 'valid', contested), edge(B)], { contested_by: others })

test('an account that several owners prove is not shown as verified', () => {
  const said = (now, seen) => {
    const { state, word, valid, all } = verdictOf(A, now, seen)
    return [state, word, valid, all]
  }
  assert.deepEqual(said(disputed(OTHER)), ['contested', 'contested', 1, 2])
  assert.deepEqual(said(disputed(OTHER, 'ed25519:three')), ['contested', 'contested_more', 1, 2])
  // Where only the platform was asked there is a report for each owner, and one account.
  const reports = [edge(A, 'valid', { primary: OTHER, ...contested }), edge(A, 'valid', contested)]
  assert.deepEqual(said(known(reports, null)), ['contested', 'contested', 0, 1])
  // Known by another account of the same person, which names no other owner.
  assert.deepEqual(said(known([edge(A, 'valid', contested), edge(B)], { query: B })), ['contested', 'contested_more', 1, 2])
  // The others of that person are.
  assert.deepEqual(verdictOf(B, disputed(OTHER), undefined).state, 'verified')
  // The owner that was seen before is still one of them; another one has never been.
  const newest = known([edge(A, 'valid', { primary: OTHER, ...contested })], { primary: OTHER, contested_by: [KEY], keys: [{ key: OTHER }] })
  assert.deepEqual(said(newest, pin), ['contested', 'contested', 0, 1])
  assert.deepEqual(said(newest, { ...pin, primary: 'ed25519:three' }).slice(0, 2), ['changed', 'changed'])
})

test('what is worth knowing is said beside it', () => {
  const said = (...notes) => verdictOf(A, known([edge(A, 'valid', { notes })]), undefined)
  assert.deepEqual(said('renamed').notes, ['renamed'])
  assert.deepEqual(said('no_chain', 'moved', 'history_unchecked').notes, ['moved', 'history_unchecked'])
  assert.equal(said('history_unchecked').state, 'verified')
  assert.deepEqual(said('unlisted').notes, [])
})

test('a whole check is not believed once another owner shows up', () => {
  const unasked = (primary) => edge(A, 'unreachable', { reason: 'chain_unreachable', primary, claim: primary === KEY ? `claim of ${A}` : 'other' })
  const now = known([unasked(OTHER), unasked(KEY)], null, '2026-11-02T00:00:00Z')
  assert.equal(joined(A, now, both), now)
  const before = disputed(OTHER)
  assert.equal(joined(A, now, before), before)
})

test('a whole check is believed for a week, as long as the same proof is there', () => {
  const now = (edges, day) => known(edges, null, `2026-11-${day}T00:00:00Z`)
  const unasked = edge(A, 'unreachable', { reason: 'chain_unreachable' })
  assert.equal(joined(A, now([unasked], '05'), both), both)
  assert.equal(joined(A, now([edge(A)], '05'), both), both)
  for (const [edges, day] of [[[unasked], '09'], [[{ ...unasked, claim: 'another' }], '05'], [[edge(A, 'revoked')], '05'], [[edge(A, 'unreachable', { claim: null, primary: null })], '05']]) {
    const platform = now(edges, day)
    assert.equal(joined(A, platform, both), platform)
  }
  const platform = now([unasked], '05')
  assert.equal(joined(A, platform, undefined), platform)
  assert.equal(joined(A, platform, known([edge(A, 'revoked')])), platform)
})
