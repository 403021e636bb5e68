import { start } from '../page.ts'
import { word } from '../words.ts'
import Popup from './Popup.svelte'

void start(Popup, word('name'))
