// The extension's texts: every language has all of them, with the same places for values, and none is left over.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

const folder = new URL('../extension/', import.meta.url).pathname
const texts = (language) => JSON.parse(readFileSync(join(folder, `public/_locales/${language}/messages.json`), 'utf8'))
const english = texts('en')
const places = (text) => [...new Set(text.match(/\$\d/g) ?? [])].sort()

for (const language of readdirSync(join(folder, 'public/_locales'))) {
  test(language, () => {
    const own = texts(language)
    assert.deepEqual(Object.keys(own), Object.keys(english))
    for (const [name, { message }] of Object.entries(own)) assert.deepEqual(places(message), places(english[name].message), name)
  })
}

test('every text is used', () => {
  const files = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) => /\.(ts|svelte)$/.test(name))
  const code = [...files.map((name) => join('src', name)), 'public/manifest.json'].map((name) => readFileSync(join(folder, name), 'utf8')).join('\n')
  // Put together from a part that is written out: `how_${…}`.
  const used = (name) => code.includes(`'${name}'`) || code.includes(`__MSG_${name}__`) || /^how_(click|platform|all)$/.test(name)
  assert.deepEqual(Object.keys(english).filter((name) => !used(name)), [])
})
