/** The texts of every page, in English. The other languages have the same members. */
export const base = {
  app: { skip: 'To the content', offline: 'You are offline. What needs the network waits.', update: 'A new version is ready.', reload: 'Reload' },
  nav: { label: 'Main', verify: 'Verify', prove: 'Prove', keys: 'Keys', chat: 'Chat', settings: 'Settings' },
  common: {
    copy: 'Copy',
    copied: 'Copied',
    cancel: 'Cancel',
    back: 'Back',
    save: 'Save',
    saved: 'Saved',
    none: 'none',
    failed: 'That did not work',
    working: 'Working…',
    refused: 'This is no handle, address, domain or key that KEZ knows.',
    revoked: 'revoked',
  },
  status: {
    valid: 'verified',
    contested: 'more than one owner',
    invalid: 'contradicted',
    missing: 'no proof there',
    nobody: 'no such account',
    revoked: 'revoked by its owner',
    expired: 'expired',
    unreachable: 'cannot be checked now',
    fork: 'two histories',
  },
}
