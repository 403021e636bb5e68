// The algorithm `html_text` (SPEC.md, "Channel ap"). Nothing is rendered.

const NAMED: { [name: string]: string } = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' }

export function entities(text: string): string {
  return text.replace(/&(#[xX][0-9A-Fa-f]+|#[0-9]+|[a-z]+);/g, (whole, body: string) => {
    if (body.length + 1 > 8) return whole
    if (!body.startsWith('#')) return NAMED[body] ?? whole
    const code = /^#x/i.test(body) ? parseInt(body.slice(2), 16) : parseInt(body.slice(1), 10)
    const isScalar = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)
    return isScalar ? String.fromCodePoint(code) : whole
  })
}

export function htmlText(html: string): string {
  let out = ''
  let links = ''
  for (let at = 0; at < html.length;) {
    const open = html.indexOf('<', at)
    out += entities(html.slice(at, open < 0 ? html.length : open))
    if (open < 0) break
    const close = html.indexOf('>', open)
    const tag = html.slice(open + 1, close < 0 ? html.length : close)
    const name = /^\/?([A-Za-z0-9]*)/.exec(tag)![1].toLowerCase()
    if (['br', 'p', 'div', 'li'].includes(name)) out += '\n'
    const [, double, single] = /[\s"']href\s*=\s*(?:"([^"]*)"|'([^']*)')/i.exec(tag) ?? []
    const href = double ?? single
    if (href !== undefined) links += `${entities(href)}\n`
    at = close < 0 ? html.length : close + 1
  }
  return `${out}\n${links}`
}
