/**
 * The script in pages: draws the mark that the worker gives, beside the name that it is about. It is a pointer only: a page
 * can cover it or draw its like, which is why the toolbar and the popup are what counts.
 */
import type { Site } from '#lib/profiles.ts'
import type { Mark, ToPage } from './messages.ts'

/** Where the name stands on each site. A site that has changed has no place, and no mark. */
const PLACES: Record<Site, string[]> = {
  github: ['.vcard-names .vcard-fullname', '.vcard-names .vcard-username'],
  bluesky: ['[data-testid="profileHeaderDisplayName"]'],
  ap: ['.account__header__tabs__name h1', '.account__header h1', '.h-card .p-name', '.p-author .p-name'],
  nostr: ['main h1', 'main h2', 'header h1', 'h1', 'h2'],
  dns: [],
}
/** How far around the name the account itself is looked for. */
const LEVELS = 3

/** The name that a mark is about, if the page shows the account beside it. */
function place(site: Site, near: string | null): Element | undefined {
  if (near === null) return undefined
  const whole = near.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  // A key is cut short on pages; any other name stands there as a whole.
  const account = new RegExp(site === 'nostr' ? whole : `(?<![\\w.-])${whole}(?![\\w-]|\\.\\w)`, 'i')
  for (const found of document.querySelectorAll(PLACES[site].join(','))) {
    let around: Element | null = found
    for (let level = 0; level <= LEVELS && around !== null && around !== document.body; level += 1) {
      if (account.test(around.textContent ?? '')) return found
      around = around.parentElement
    }
  }
  return undefined
}

let mark: Mark | null = null
let host: HTMLElement | undefined
let anchor: Element | undefined

function remove(): void {
  host?.remove()
  host = anchor = undefined
}

function draw(): void {
  remove()
  if (mark === null) return
  const corner = mark.site === 'dns'
  anchor = corner ? document.documentElement : place(mark.site, mark.near)
  if (anchor === undefined) return
  host = document.createElement('kez-mark')
  // Set by script, one by one, since a page's policy may refuse styles.
  host.style.cssText = 'all: initial; display: inline-block; vertical-align: middle; margin-inline-start: 0.4em;'
  if (corner) host.style.cssText += 'position: fixed; inset-block-end: 8px; inset-inline-end: 8px; z-index: 2147483647;'
  const root = host.attachShadow({ mode: 'closed' })
  const button = document.createElement('button')
  button.style.cssText =
    'font: 600 12px/1.4 system-ui, sans-serif; padding: 2px 8px; border: 1px solid currentColor; border-radius: 99px; background: Canvas; color: CanvasText; cursor: pointer; white-space: nowrap; letter-spacing: normal;'
  button.type = 'button'
  button.dir = 'auto'
  button.title = mark.title
  button.textContent = `${mark.sign} ${mark.text}`
  button.addEventListener('click', (event) => {
    event.preventDefault()
    event.stopPropagation()
    // A page's own clicks open nothing.
    if (event.isTrusted) void tell({ type: 'open' })
  })
  root.append(button)
  if (corner) anchor.append(host)
  else anchor.after(host)
}

/** Whether the worker has done it, and need not be asked again. */
async function tell(message: unknown): Promise<boolean> {
  try {
    return (await chrome.runtime.sendMessage(message)) === true
  } catch {
    // The extension was loaded anew, and this script is of the one before.
    if (chrome.runtime?.id === undefined) {
      watching.disconnect()
      remove()
    }
    return false
  }
}

/** How long to wait before asking once more, each time, and how long the worker may say nothing at all, in milliseconds. */
const [WAITS, SILENCE] = [[500, 2000, 6000, 0], 2000]
const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds))

let shown = ''
/** Whether the worker has said anything of the address that is shown. */
let heard = false

/** False where the worker has not been heard in time; else it is known to be at work. */
async function heardInTime(): Promise<boolean> {
  await pause(SILENCE)
  return heard ? new Promise<boolean>(() => undefined) : false
}

async function look(): Promise<void> {
  if (location.href !== shown) {
    mark = null
    remove()
  }
  const url = (shown = location.href)
  // A worker that ends in the middle takes its requests with it, or its answer; one that ends as it is asked never hears of it.
  for (const wait of WAITS) {
    heard = false
    if ((await Promise.race([tell({ type: 'look', url }), heardInTime()])) || url !== shown) return
    await pause(wait)
  }
}

chrome.runtime.onMessage.addListener((message: ToPage) => {
  if (message.url !== location.href) return
  heard = true
  mark = message.sign === null ? null : message
  draw()
})

/** Pages change under it: another profile, or the name drawn anew. */
function follow(): void {
  if (location.href !== shown) void look()
  else if (mark !== null && (host?.isConnected !== true || anchor?.isConnected !== true)) draw()
}

let waiting: ReturnType<typeof setTimeout> | undefined
const watching = new MutationObserver(() => {
  waiting ??= setTimeout(() => {
    waiting = undefined
    follow()
  }, 100)
})
watching.observe(document, { childList: true, subtree: true })
addEventListener('popstate', follow)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void look()
})
void look()
