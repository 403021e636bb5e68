import { start } from '../page.ts'
import { word } from '../words.ts'
import Options from './Options.svelte'

void start(Options, `${word('name')} · ${word('options')}`)
