// Packs the built extension into the zip for the stores. The same files give the same bytes: names in order, one date.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zipSync } from 'fflate'

const [folder, to] = process.argv.slice(2)
const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(folder, name)).isFile())
const files = Object.fromEntries(names.sort().map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]))
writeFileSync(to, zipSync(files, { level: 9, mtime: '1980-01-01T00:00:00', os: 3 }))
