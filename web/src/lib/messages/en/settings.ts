/** The texts of the settings, in English. */

export const settings = {
  settings: {
    title: 'Settings',
    language: 'Language',
    theme: 'Appearance',
    system: 'as the system',
    light: 'light',
    dark: 'dark',
    servers: 'Sigchain servers, one a line',
    serversHint: 'Your sigchain is published there, and others’ are read. Nobody has to trust them.',
    relays: 'nostr relays, one a line',
    dns: 'DNS resolvers (DNS over HTTPS), one a line',
    chat: 'Chat server',
    defaults: 'Empty means the built-in ones.',
    bad: (line: string) => `This is no such address: ${line}`,
    asked: 'What leaves this browser',
    askedText: 'Verifying asks the platforms of the accounts, the sources of the sigchain and the DNS resolver, and nobody else. Chat asks the chat server. Nothing is counted or tracked.',
    export: 'Export everything',
    exportLead: 'Your sigchain, your proofs, the settings and what was seen of others, and the key, encrypted if you have set a passphrase. Conversations stay in this browser.',
    exportButton: 'Download',
    delete: 'Delete everything',
    deleteLead: 'Deletes the key, the conversations and all else from this browser. What is published stays published. Without a backup the identity is lost.',
    deleteConfirm: 'Type DELETE to confirm',
    deleteButton: 'Delete everything in this browser',
  },
}
