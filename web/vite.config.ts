import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import statically from '@sveltejs/adapter-static'
import type { Adapter } from '@sveltejs/kit'
import { sveltekit } from '@sveltejs/kit/vite'
import { defineConfig, type Plugin } from 'vite'

const PAGES = 'build'

/** As adapter-static; and no script stands inside a page, so that the policy need allow none. */
function withoutInlineScripts(adapter: Adapter): Adapter {
  return {
    ...adapter,
    async adapt(builder) {
      await adapter.adapt(builder)
      const files = readdirSync(PAGES, { recursive: true, encoding: 'utf8' })
      for (const file of files.filter((name) => name.endsWith('.html'))) {
        const page = readFileSync(join(PAGES, file), 'utf8')
        const moved = page.replace(/<script>([^]*?)<\/script>/g, (_, script: string) => {
          const name = `/_app/immutable/start-${createHash('sha256').update(script).digest('hex').slice(0, 16)}.js`
          writeFileSync(join(PAGES, name), script)
          return `<script src="${name}"></script>`
        })
        writeFileSync(join(PAGES, file), moved)
      }
      await builder.compress(PAGES)
    },
  }
}

/**
 * SvelteKit brings along what it keeps the data of a server with, of which this app has none: what else it keeps by it, beside
 * a page's address, is JSON.
 */
const withoutServerData: Plugin = {
  name: 'without-server-data',
  apply: 'build',
  enforce: 'pre',
  resolveId(id, importer, { ssr }) {
    const kept = id === 'devalue' || (id === './fetcher.js' && importer?.includes('/@sveltejs/kit/') === true)
    return kept && ssr !== true ? join(import.meta.dirname, 'src/lib/no-server-data.ts') : undefined
  },
}

/** What the codes mean is data, and comes as such: a table of sentences is nothing that a page has to run. */
const codesAsData: Plugin = {
  name: 'codes-as-data',
  apply: 'build',
  async load(id) {
    if (!/\/messages\/\w+\/codes\.ts$/.test(id) || this.environment.name !== 'client') return undefined
    const { codes } = (await import(id)) as { codes: unknown }
    const file = this.emitFile({ type: 'asset', name: 'codes.json', source: JSON.stringify(codes) })
    return `export const codes = await fetch(import.meta.ROLLUP_FILE_URL_${file}).then((answer) => answer.json())`
  },
}

/**
 * What pages load together: what all do, what those do that show somebody, and what those do that are for one's own
 * identity. Each file is packed by itself, so that many small ones weigh a tenth more.
 */
const groups = Object.entries({
  frame: [
    String.raw`/node_modules/(?:svelte|clsx|esm-env)/|vite/preload-helper`,
    // How it begins is a file of its own.
    String.raw`/@sveltejs/kit/src/(?!.*/(?:entry|client-entry|payload)\.js)`,
    String.raw`/npm/dist/(?:glue/|(?:instance|errors|task|basics|check|dispose)\.js)`,
    String.raw`/src/lib/(?:text|settings|start|worker\.svelte|no-server-data)\.ts|/src/routes/\+layout`,
  ],
  shown: [
    String.raw`/npm/dist/(?:key|verifier|claim)\.js|/idb-keyval/`,
    String.raw`/src/lib/(?:store|status|attempt\.svelte)\.ts|/parts/(?:Reason|Failure|Copy)\.svelte`,
  ],
  own: [
    String.raw`/npm/dist/chain\.js|/src/lib/(?:me\.svelte|files|wrapping|device)\.ts`,
    String.raw`/parts/(?:NeedKey|Publication)\.svelte`,
  ],
}).map(([name, modules]) => ({ name, test: new RegExp(modules.join('|')) }))

export default defineConfig({
  environments: {
    client: { build: { rolldownOptions: { preserveEntrySignatures: 'allow-extension', output: { minify: true, codeSplitting: { includeDependenciesRecursively: false, groups } } } } },
  },
  plugins: [
    withoutServerData,
    codesAsData,
    sveltekit({
      adapter: withoutInlineScripts(statically({ pages: PAGES, fallback: '404.html' })),
      compilerOptions: { fragments: 'tree', runes: true },
      // Pages lie at any depth, and the start script in a folder of its own.
      paths: { relative: false },
      // Registering one is a sink of Trusted Types, which the start script knows nothing of.
      serviceWorker: { register: false },
    }),
  ],
  // The page has sentences of its own for what may go wrong.
  resolve: { alias: [{ find: /^kez$/, replacement: 'kez/slim' }] },
  // The one finds what the other does not: together they save two parts in a hundred.
  build: { target: 'es2022', assetsInlineLimit: 0, minify: 'terser', terserOptions: { module: true, compress: { passes: 2 } } },
  worker: { format: 'es' },
})
