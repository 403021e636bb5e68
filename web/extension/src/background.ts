/** The worker: finds out whose profile a tab shows, and says so on the toolbar and to the page's script. */
import { profileAt, type Profile } from '#lib/profiles.ts'
import { check, subjectOf } from './check.ts'
import type { FromPage, FromPopup, Mark } from './messages.ts'
import {
  absentSince, forgetTab, loadPin, loadSettings, loadTab, noteAbsent, recall, remember, removePin, savePin, saveTab, wait, waitUntil, type Known, type Pin, type Tab,
} from './store.ts'
import { checking, joined, limited, pinOf, unchecked, verdictOf, type State, type Verdict } from './verdict.ts'
import { say, SIGNS, word } from './words.ts'

/** How long something is shown as it was found, in milliseconds. */
const FRESH = { all: 60 * 60_000, platform: 24 * 60 * 60_000, click: 24 * 60 * 60_000, absent: 60 * 60_000 }

/** On the toolbar only what is certain has a sign that one cannot overlook. */
const TOOLBAR: Record<State, string> = { verified: '✓', contested: '!', changed: '!', contradicted: '!', unknown: '', checking: '' }
const COLOURS: Record<State, string> = { verified: '#0a7a3d', contested: '#8a5a00', changed: '#8a5a00', contradicted: '#b3261e', unknown: '#5b6372', checking: '#5b6372' }

const time = (moment: string) => new Intl.DateTimeFormat(word('language'), { timeStyle: 'short' }).format(new Date(moment))

/** What the page's script is to draw; null for nothing. */
function markOf(tab: Tab, profile: Profile | undefined): Mark | null {
  const { verdict, subject, url } = tab
  if (verdict === null || verdict.quiet || subject === null || profile === undefined) return null
  return { url, site: profile.site, near: profile.mark, sign: SIGNS[verdict.state], text: say(verdict, time), title: word('badge_title', subject) }
}

/** Puts what is known of a tab where people see it. */
async function show(id: number, tab: Tab): Promise<void> {
  await saveTab(id, tab)
  const { verdict, subject } = tab
  const title = subject === null ? word('nobody') : `${subject}: ${say(verdict, time)}`
  // The tab may be gone by now.
  const put = [
    chrome.action.setBadgeText({ tabId: id, text: verdict === null ? '' : TOOLBAR[verdict.state] }),
    chrome.action.setBadgeBackgroundColor({ tabId: id, color: COLOURS[verdict?.state ?? 'unknown'] }),
    chrome.action.setTitle({ tabId: id, title }),
  ]
  await Promise.allSettled(put)
  const mark = markOf(tab, profileAt(tab.url))
  await chrome.tabs.sendMessage(id, mark ?? { url: tab.url, sign: null }).catch(() => undefined)
}

/** What is said of what is known; what is as it was, or new, is pinned, and what has changed only once the user has seen it. */
async function judge(tab: Tab, subject: string, known: Known): Promise<Tab> {
  const old = await loadPin(subject)
  const verdict = verdictOf(subject, known, old)
  const pin = verdict?.state === 'verified' ? pinOf(subject, known, old) : undefined
  const kept = pin === undefined || tab.private || (await stored(savePin(subject, pin)))
  return { ...tab, verdict, failure: kept ? tab.failure : 'storage' }
}

/** Whether the browser's storage took it. */
const stored = (saving: Promise<unknown>) => saving.then(() => true, () => false)

/** What has its answers limited together: GitHub counts by address, whoever is asked about. */
const limitOf = ({ site }: Profile, subject: string) => (site === 'github' ? site : subject)

/**
 * Looks at what a tab shows. A click asks everybody who may know; without one the settings say who is asked. Whether that is all,
 * or somebody who did not answer should be asked again in a moment.
 */
async function look(id: number, url: string, hidden: boolean, click = false): Promise<boolean> {
  const showAll = async (tab: Tab) => {
    await show(id, tab)
    return true
  }
  const settings = await loadSettings()
  const profile = profileAt(url)
  const subject = profile === undefined ? undefined : await subjectOf(profile)
  const tab: Tab = { url, at: Date.now(), subject: subject ?? null, verdict: null, found: null, asked: [], texts: {}, failure: null, private: hidden }
  if (profile === undefined || subject === undefined) return showAll(tab)
  const seen = (await loadPin(subject)) !== undefined
  if (!click) {
    if (settings.off.includes(new URL(url).hostname)) return showAll({ ...tab, subject: null })
    const known = await recall(subject, hidden)
    if (known !== undefined && Date.now() - Date.parse(known.checked) < FRESH[settings.ask]) {
      const before = await loadTab(id)
      // What was asked for this page stays to be looked at.
      const same = before?.url === url && before.subject === subject && before.found?.checked === known.checked
      return showAll(await judge(same ? before : tab, subject, known))
    }
    if (Date.now() - ((await absentSince(subject)) ?? 0) < FRESH.absent) return showAll(tab)
    // A domain has no platform: its name servers are others.
    if (settings.ask === 'click' || (settings.ask === 'platform' && profile.site === 'dns')) return showAll({ ...tab, verdict: unchecked })
    const retry = await waitUntil(limitOf(profile, subject))
    if (retry !== undefined) return showAll({ ...tab, verdict: limited(retry, seen) })
  }
  await show(id, { ...tab, verdict: checking(!seen && !click) })
  const only = click || settings.ask === 'all' ? undefined : profile.site
  let done: Tab
  try {
    const { known: now, ...found } = await check(subject, { only, hidden })
    const known = only === undefined ? now : joined(subject, now, await recall(subject, hidden))
    done = await judge({ ...tab, ...found, found: known }, subject, known)
    const { verdict } = done
    if (verdict === null) await stored(noteAbsent(subject))
    // What could not be had now does not take the place of what was.
    else if ((verdict.state !== 'unknown' || click) && !(await stored(remember(subject, known, hidden)))) done.failure = 'storage'
    if (verdict?.state === 'unknown' && verdict.retry !== null) await stored(wait(limitOf(profile, subject), verdict.retry))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    done = { ...tab, verdict: { ...unchecked, word: 'unreachable' }, failure: { message } }
  }
  // Another page may be there by now.
  const now = await loadTab(id)
  if (now?.url === url) await show(id, done)
  return done.verdict?.word !== 'unreachable'
}

/** The user has seen what changed: from now on this is how it is. */
async function accept(id: number): Promise<void> {
  const tab = await loadTab(id)
  // Of private windows nothing is kept.
  if (tab?.subject == null || tab.private) return
  const known = await recall(tab.subject, tab.private)
  const pin: Pin | undefined = known && pinOf(tab.subject, known, undefined)
  const first = (await loadPin(tab.subject))?.first
  if (pin === undefined) await removePin(tab.subject)
  else await savePin(tab.subject, { ...pin, first: first ?? pin.first })
  if (known !== undefined) await show(id, await judge(tab, tab.subject, known))
}

async function fromPopup(message: FromPopup): Promise<unknown> {
  switch (message.type) {
    case 'check':
      return look(message.tab, message.url, message.private, true)
    case 'look':
      return look(message.tab, message.url, message.private)
    case 'accept':
      return accept(message.tab)
    case 'sites':
      return follow()
  }
}

async function fromPage(message: FromPage, id: number, hidden: boolean): Promise<boolean> {
  if (message.type === 'look') return look(id, message.url, hidden)
  // Not every browser lets a worker open the popup.
  try {
    await chrome.action.openPopup()
  } catch {
    await chrome.tabs.create({ url: chrome.runtime.getURL(`popup.html?tab=${id}`), openerTabId: id })
  }
  return true
}

/** A message of a script in a page: it speaks for the page that it is in, and for no other. */
function isFromPage(message: unknown, sender: chrome.runtime.MessageSender): message is FromPage {
  const { type, url } = message as Record<string, unknown>
  if (type === 'open') return true
  return type === 'look' && typeof url === 'string' && URL.canParse(url) && new URL(url).origin === new URL(sender.url ?? '').origin
}

chrome.runtime.onMessage.addListener((message: unknown, sender, answer) => {
  if (sender.id !== chrome.runtime.id || typeof message !== 'object' || message === null) return false
  const { tab } = sender
  let work: Promise<unknown>
  if (sender.url?.startsWith(chrome.runtime.getURL('')) === true) work = fromPopup(message as FromPopup)
  else if (tab?.id !== undefined && sender.frameId === 0 && isFromPage(message, sender)) work = fromPage(message, tab.id, tab.incognito)
  else return false
  // What was found is on its way to who shows it; the answer only says whether that is all.
  void work.catch(console.error).then((all) => answer(all === true))
  return true
})

chrome.tabs.onRemoved.addListener((id) => void forgetTab(id))
chrome.tabs.onUpdated.addListener((id, change, { url }) => {
  // A page that the extension does not see is nobody's.
  if (change.status === 'loading') void loadTab(id).then((tab) => (tab === undefined || tab.url === url ? undefined : forgetTab(id)))
})

/** The page's script runs on the sites that the user has added, too. */
async function follow(): Promise<void> {
  const { content_scripts: [script] = [] } = chrome.runtime.getManifest()
  const { origins = [] } = await chrome.permissions.getAll()
  const matches = origins.filter((origin) => !(script?.matches ?? []).includes(origin))
  const has = (await chrome.scripting.getRegisteredContentScripts()).length > 0
  if (matches.length === 0) {
    if (has) await chrome.scripting.unregisterContentScripts()
    return
  }
  const scripts: chrome.scripting.RegisteredContentScript[] = [{ id: 'added', matches, js: ['content.js'], runAt: 'document_end' }]
  await (has ? chrome.scripting.updateContentScripts(scripts) : chrome.scripting.registerContentScripts(scripts))
}
chrome.permissions.onAdded.addListener(() => void follow())
chrome.permissions.onRemoved.addListener(() => void follow())
chrome.runtime.onInstalled.addListener(({ reason }) => {
  void follow()
  // Who is asked is the user's to say, once.
  if (reason === 'install') void chrome.runtime.openOptionsPage()
})
