import { texts } from '#lib/text.ts'

export const load = texts('own', 'keys')
