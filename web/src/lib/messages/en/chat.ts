/** The texts of the chat, in English. */
import { plural } from './plural.ts'

export const chat = {
  chat: {
    title: 'Chat',
    status: { live: 'live', reconnecting: 'reconnecting…', connecting: 'connecting…' },
    startLead: 'Choose a name at a chat server. Your sigchain will name this browser as a device.',
    server: 'Chat server',
    handle: 'Your name there',
    register: 'Register',
    conversations: 'Conversations',
    empty: 'No conversations yet.',
    new: 'New conversation',
    newHandle: 'Whose name?',
    newHint: 'A name at your server, such as alice.',
    wanted: (who: string) => `You have not written to ${who} yet. Which name do they have at your chat server?`,
    wantedOther: 'That name belongs to somebody else. Do not take them for whom you looked for.',
    newGroup: 'Name of the group, for more than one person',
    group: 'group',
    open: 'Open',
    unread: (n: number) => plural(n, '1 unread', `${n} unread`),
    me: (handle: string, server: string) => `You are ${handle} at ${server}`,
    otherTab: 'Another tab of this browser has the chat open.',
  },
}
