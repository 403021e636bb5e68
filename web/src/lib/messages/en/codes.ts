/** What the codes mean in English: the package's own table. */
import { codes as all } from 'kez/codes'

export const codes: Partial<Record<string, string>> = Object.fromEntries(all().map(({ code, summary, remedy }) => [code, `${summary} ${remedy}`]))
