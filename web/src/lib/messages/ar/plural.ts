const rules = new Intl.PluralRules('ar')
/** The forms that Arabic counts in; `#` is the number. */
export function plural(n: number, one: string, two: string, few: string, many: string, other: string): string {
  const forms: Partial<Record<Intl.LDMLPluralRule, string>> = { one, two, few, many }
  return (forms[rules.select(n)] ?? other).replace('#', new Intl.NumberFormat('ar').format(n))
}
