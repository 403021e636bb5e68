// Everything happens in the reader's browser, in the reader's language: pages are shells.
export const ssr = false
export const prerender = true
export const trailingSlash = 'never'
