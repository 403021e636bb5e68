/** The texts of what all pages for one's own identity have, in English. */

export const own = {
  key: {
    none: 'This browser has no identity yet.',
    make: 'Make an identity',
    making: 'It is made in this browser, and stays here until you export it.',
    nip07: 'Use my nostr extension',
    nip07None: 'There is no nostr extension in this browser. Install one and reload, or make a key here.',
    import: 'Bring a key',
    locked: 'The key is locked.',
    unlock: 'Unlock',
    passphrase: 'Passphrase',
    passphraseWrong: 'That is not the passphrase.',
    passkeyUnlock: 'Unlock with the passkey',
    joinedOnly: 'This browser is a device: it can chat, but not prove or revoke. The key is in the other browser.',
    scan: 'Scan with the camera',
  },
  ending: { breaks: 'What this breaks', confirm: 'Yes, do it' },
  publication: {
    published: 'It is on your sigchain, and published.',
    notPublished: 'It is on your sigchain, but the sigchain could not be published. Settings name where it goes.',
    noServer: 'It is on your sigchain, which has no server: name one in Settings, or publish the file from Keys.',
  },
}
