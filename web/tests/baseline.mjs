// What pages looked like when somebody last looked at them: `tests/baseline`, at half the size. A page that looks otherwise
// fails; `KEZ_ACCEPT=1 cargo xtask web looks extension` takes what there is now.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pixelmatch from 'pixelmatch'
import { PNG } from 'pngjs'
import { pictures } from './world.mjs'

const FOLDER = new URL('baseline/', import.meta.url).pathname
/** How many of a thousand pixels may differ: less than one line of text does on the smallest page. */
const MOST = 2
const accepting = process.env.KEZ_ACCEPT === '1'
mkdirSync(FOLDER, { recursive: true })

/** Every four pixels as one. */
function half({ width, height, data }) {
  const small = new PNG({ width: width >> 1, height: height >> 1 })
  for (let y = 0; y < small.height; y += 1) {
    for (let x = 0; x < small.width; x += 1) {
      for (let c = 0; c < 4; c += 1) {
        const at = (2 * y * width + 2 * x) * 4 + c
        small.data[(y * small.width + x) * 4 + c] = (data[at] + data[at + 4] + data[at + width * 4] + data[at + width * 4 + 4]) >> 2
      }
    }
  }
  return small
}

/** Other versions of the browser draw letters otherwise: then differences are told, and are no failure. */
const file = join(FOLDER, 'chromium.txt')
const versionOf = (page) => page.context().browser().version().split('.')[0]

/** Holds a page against its picture. Keys, times and what else is never the same are covered. */
export async function looksAsBefore(page, name, varies = []) {
  const mask = ['code', 'time', 'p[role=status]', 'pre', 'input[type=url]', 'textarea', ...varies].map((one) => page.locator(one))
  const shot = await page.screenshot({ fullPage: true, animations: 'disabled', caret: 'hide', mask })
  const now = half(PNG.sync.read(shot))
  const path = join(FOLDER, `${name}.png`)
  if (accepting) {
    writeFileSync(file, `${versionOf(page)}\n`)
    writeFileSync(path, PNG.sync.write(now, { colorType: 2 }))
    return
  }
  assert.ok(existsSync(path), `${name} has no picture yet: look at it, and accept it`)
  const before = PNG.sync.read(readFileSync(path))
  const told = `${name} does not look as before: see target/web/pictures/differs-${name}.png`
  let share = 1000
  if (before.width === now.width && before.height === now.height) {
    const drawn = new PNG(now)
    share = (1000 * pixelmatch(before.data, now.data, drawn.data, now.width, now.height, { threshold: 0.2 })) / (now.width * now.height)
    if (share > MOST) writeFileSync(join(pictures, `differs-${name}.png`), PNG.sync.write(drawn))
  } else writeFileSync(join(pictures, `differs-${name}.png`), PNG.sync.write(now))
  if (share <= MOST) return
  if (readFileSync(file, 'utf8').trim() === versionOf(page)) assert.fail(`${told} (${share.toFixed(1)} of 1000 pixels)`)
  console.error(`${told}; this is another version of Chromium`)
}
