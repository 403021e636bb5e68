import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as kez from 'kez'
import { countOf, runVectors } from './vectors.mjs'

test('every vector gives what the native build gives', async () => {
  await kez.init()
  const folder = new URL('../../kez-core/vectors/', import.meta.url)
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'))
  const vectors = names.map((name) => [name, JSON.parse(readFileSync(new URL(name, folder), 'utf8'))])
  const all = Object.fromEntries(vectors)
  const { passed, wrong } = runVectors(kez, all)
  assert.deepEqual(wrong, [])
  assert.equal(passed, countOf(all))
  assert.ok(passed > 300, `${passed}`)
})
