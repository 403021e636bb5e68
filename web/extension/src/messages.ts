/** What the parts of the extension say to each other. */
import type { Site } from '#lib/profiles.ts'

/** Of the script in a page: look at this page; open the popup. */
export type FromPage = { type: 'look'; url: string } | { type: 'open' }

/** Of the popup and the options. */
export type FromPopup =
  | { type: 'check' | 'look'; tab: number; url: string; private: boolean }
  | { type: 'accept'; tab: number }
  | { type: 'sites' }

/** What is drawn into a page: nothing that the page could learn from. */
export interface Mark {
  url: string
  site: Site
  /** What must stand where it is drawn. */
  near: string | null
  sign: string
  text: string
  title: string
}

/** To the script in a page: draw this; draw nothing. */
export type ToPage = Mark | { url: string; sign: null }
