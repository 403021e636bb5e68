/** Names of the files that people download. */
export const keyFileName = (identity: string): string => `kez-${identity.replace(/[^a-z0-9]/g, '-').slice(0, 24)}.json`
export const exportName = (): string => `kez-export-${new Date().toISOString().slice(0, 10)}.json`

/** Of which kind a key is. */
export const schemeOf = (identity: string): 'ed25519' | 'nostr' => (identity.startsWith('nostr:') ? 'nostr' : 'ed25519')
