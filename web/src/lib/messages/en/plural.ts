/** The forms of a number's words in English. */
const rules = new Intl.PluralRules('en')
export const plural = (n: number, one: string, other: string) => (rules.select(n) === 'one' ? one : other)
