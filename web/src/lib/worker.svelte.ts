/** The service worker: keeps the pages for when there is no network, and never swaps them unasked. */
declare const trustedTypes: {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string }
}

const OWN = ['/service-worker.js', '/_app/']

/** The one place where a URL becomes code: files of these pages, and no others. */
const policy =
  typeof trustedTypes === 'undefined'
    ? undefined
    : trustedTypes.createPolicy('kez', {
        createScriptURL(url) {
          const { origin, pathname } = new URL(url, location.href)
          if (origin === location.origin && OWN.some((path) => pathname.startsWith(path))) return url
          throw new TypeError('not a script of these pages')
        },
      })

export const script = (url: string): string => policy?.createScriptURL(url) ?? url

export function updates(): { readonly ready: boolean; take(): void } {
  let waiting = $state<ServiceWorker | null>(null)
  if ('serviceWorker' in navigator && !import.meta.env.DEV) {
    void navigator.serviceWorker.register(script('/service-worker.js')).then((registration) => {
      const look = () => {
        // The first one serves nobody yet.
        if (registration.waiting !== null && navigator.serviceWorker.controller !== null) waiting = registration.waiting
      }
      look()
      registration.addEventListener('updatefound', () => registration.installing?.addEventListener('statechange', look))
    }, () => undefined)
    let reloading = false
    navigator.serviceWorker.addEventListener('controllerchange', () => {
      if (waiting === null || reloading) return
      reloading = true
      location.reload()
    })
  }
  return {
    get ready() {
      return waiting !== null
    },
    take: () => waiting?.postMessage('take over'),
  }
}
