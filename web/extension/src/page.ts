/** How the extension's own pages start. */
import { init } from 'kez'
import { type Component, mount } from 'svelte'
import { type Language, loadText } from '#lib/text.ts'
import { word } from './words.ts'
import '../../src/app.css'

export async function start(page: Component, title: string): Promise<void> {
  // All of a page speaks the language that the browser has chosen from `_locales`.
  const language = word('language') as Language
  await Promise.all([loadText('/', language), init()])
  document.documentElement.lang = language
  document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr'
  document.title = title
  mount(page, { target: document.getElementById('app') as HTMLElement })
}
