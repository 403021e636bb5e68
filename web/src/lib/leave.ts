/** The user's leave to post, which an account's server gives in another tab. */
import { type Authorization, authorize } from 'kez'
import { verifyOptions } from './settings.ts'

const CHANNEL = 'kez-leave'

/** Asks the server of a fediverse or Bluesky account. */
export function ask(subject: string): Promise<Authorization> {
  const { hostname, origin } = location
  // A server that is not on this machine reads there who we are.
  const client = hostname === '127.0.0.1' ? undefined : `${origin}/client-metadata.json`
  return authorize(subject, { ...verifyOptions(), client, redirect: `${origin}/back` })
}

/** In the tab that comes back: hands over what it brings, and keeps nothing of it in the history. */
export function comeBack(): void {
  const channel = new BroadcastChannel(CHANNEL)
  channel.postMessage(location.search)
  channel.close()
  history.replaceState(null, '', location.pathname)
}

/** Waits for the tab that comes back from there, until the result is called. Others are other pages' business. */
export function whenBack(leave: Authorization, take: (query: string) => unknown): () => void {
  const channel = new BroadcastChannel(CHANNEL)
  channel.onmessage = ({ data }) => {
    if (leave.isAnsweredBy(String(data))) void take(String(data))
  }
  return () => channel.close()
}
