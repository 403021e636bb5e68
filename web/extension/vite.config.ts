// Two builds: modules for the worker and the pages, and one plain script for web pages (`--mode content`).
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

const common = { target: 'es2022', outDir: process.env['KEZ_OUT'] ?? 'dist' }

export default defineConfig(({ mode }) => ({
  root: import.meta.dirname,
  base: './',
  // What verifies is all that is needed.
  resolve: { alias: [{ find: /^kez$/, replacement: 'kez/verify' }] },
  ...(mode === 'content'
    ? {
        build: {
          ...common,
          emptyOutDir: false,
          copyPublicDir: false,
          rolldownOptions: { input: 'src/content.ts', output: { format: 'iife', entryFileNames: 'content.js', codeSplitting: false } },
        },
      }
    : {
        plugins: [svelte({ compilerOptions: { fragments: 'tree', runes: true } })],
        build: {
          ...common,
          emptyOutDir: true,
          modulePreload: { polyfill: false },
          assetsInlineLimit: 0,
          rolldownOptions: {
            input: { popup: 'popup.html', options: 'options.html', background: 'src/background.ts' },
            output: { entryFileNames: (chunk: { name: string }) => (chunk.name === 'background' ? 'background.js' : 'assets/[name]-[hash].js') },
          },
        },
      }),
}))
