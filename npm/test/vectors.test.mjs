import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as kez from 'kez'
import { runVectors } from './vectors.mjs'

test('every vector gives what the native build gives, reports to the byte', async () => {
  await kez.init()
  const folder = new URL('../../kez-core/vectors/', import.meta.url)
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'))
  const vectors = names.map((name) => [name, JSON.parse(readFileSync(new URL(name, folder), 'utf8'))])
  const { passed, wrong } = runVectors(kez, Object.fromEntries(vectors))
  assert.deepEqual(wrong, [])
  assert.ok(passed > 300, `${passed}`)
})
