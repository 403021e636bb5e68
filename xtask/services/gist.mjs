// An EMULATOR of GitHub's gist API, since no real one can be had: two hosts (API and raw), the
// status codes, headers, limits and paging of the REST documentation, and failures on demand.
//
// Control (tests only): POST /control with JSON {op, ...}:
//   user {login, id, blog?, social?: [url]}   gist {login, files:{name:text}, fork_of?, secret?}   drop {id}   edit {id, files}
//   rename {login, to} limit {remaining, kind: "403"|"429"|"secondary"}   down {status}
//   token {token, login, scopes: [..]|null}   untoken {token}   stale {seconds}: lists lag behind
//   gists {login}: what is there   app {client, interval, lasts}: an OAuth app with the device flow
//   device {code, login}: somebody allows it; without a login, declines
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'

const [apiPort, rawPort] = process.argv.slice(2).map(Number)
const users = new Map() // lower-case login -> {login, id}
const gists = [] // newest first
let limit = { remaining: 5000, kind: '403' }
let down = 0
let stale = 0
const apps = new Map() // client id -> {interval, lasts}
const devices = new Map() // device code -> {client, code, until, next, login}
const tokens = new Map() // token -> {login, scopes}; scopes is null for fine-grained ones

const exposed =
  'ETag, Link, Location, Retry-After, X-GitHub-OTP, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Used, X-RateLimit-Resource, X-RateLimit-Reset, X-OAuth-Scopes, X-Accepted-OAuth-Scopes, X-Poll-Interval, X-GitHub-Media-Type, X-GitHub-SSO, X-GitHub-Request-Id, Deprecation, Sunset'

function owner(gist) {
  const user = users.get(gist.login)
  return profile(user)
}

// GitHub repeats an account with a dozen links wherever it names one, which is what makes its
// lists large.
function profile({ login, id }) {
  const api = `https://api.github.com/users/${login}`
  const links = {}
  for (const name of ['followers', 'starred', 'subscriptions', 'organizations', 'repos', 'events', 'received_events'])
    links[`${name}_url`] = `${api}/${name}`
  return {
    login,
    id,
    node_id: Buffer.from(`04:User${id}`).toString('base64'),
    avatar_url: `https://avatars.githubusercontent.com/u/${id}?v=4`,
    gravatar_id: '',
    url: api,
    html_url: `https://github.com/${login}`,
    ...links,
    following_url: `${api}/following{/other_user}`,
    gists_url: `${api}/gists{/gist_id}`,
    type: 'User',
    user_view_type: 'public',
    site_admin: false,
  }
}

// What the page of an account has beside that. Nothing here reads it; GitHub's document demands it.
function whole(user) {
  const at = '2020-01-01T00:00:00Z'
  const open = gists.filter((g) => g.login === user.login.toLowerCase() && !g.secret).length
  return {
    ...profile(user),
    ...{ name: null, company: null, blog: user.blog, location: null, email: null, hireable: null, bio: null, twitter_username: null },
    ...{ public_repos: 0, public_gists: open, followers: 0, following: 0, created_at: at, updated_at: at },
  }
}

const LANGUAGES = { md: 'Markdown', json: 'JSON', txt: 'Text' }
const TRUNCATE = 1_000_000

function render(gist, whole) {
  const api = `http://127.0.0.1:${apiPort}`
  const files = {}
  for (const [filename, text] of Object.entries(gist.files)) {
    const sha = createHash('sha1').update(text).digest('hex')
    files[filename] = {
      filename,
      type: 'text/plain',
      language: LANGUAGES[filename.split('.').at(-1)] ?? 'Text',
      raw_url: `http://127.0.0.1:${rawPort}/${gist.login}/${gist.id}/raw/${sha}/${filename}`,
      size: Buffer.byteLength(text),
    }
    if (whole) {
      files[filename].truncated = Buffer.byteLength(text) > TRUNCATE
      files[filename].content = text.slice(0, TRUNCATE)
    }
  }
  const value = {
    url: `${api}/gists/${gist.id}`,
    forks_url: `${api}/gists/${gist.id}/forks`,
    commits_url: `${api}/gists/${gist.id}/commits`,
    node_id: `G_kwDO${gist.id}`,
    git_pull_url: `https://gist.github.com/${gist.id}.git`,
    git_push_url: `https://gist.github.com/${gist.id}.git`,
    comments_url: `${api}/gists/${gist.id}/comments`,
    id: gist.id,
    html_url: `https://gist.github.com/${gist.login}/${gist.id}`,
    public: !gist.secret,
    files,
    created_at: gist.at,
    updated_at: gist.at,
    description: gist.description ?? null,
    comments: 0,
    user: null,
    owner: owner(gist),
    truncated: false,
  }
  if (whole) {
    value.history = []
    value.forks = []
    value.fork_of = gist.fork_of ? render(gists.find((g) => g.id === gist.fork_of), false) : null
  }
  return value
}

function send(response, status, body, headers = {}) {
  response.writeHead(status, {
    'access-control-allow-origin': '*',
    'access-control-expose-headers': exposed,
    'content-type': 'application/json; charset=utf-8',
    ...headers,
  })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

const missing = {
  message: 'Not Found',
  documentation_url: 'https://docs.github.com/rest',
  status: '404',
}

function control(message) {
  switch (message.op) {
    case 'user':
      users.set(message.login.toLowerCase(), { blog: '', social: [], ...message })
      return {}
    case 'gist': {
      const id = randomBytes(16).toString('hex')
      const at = new Date().toISOString().replace(/\.\d+/, '')
      gists.unshift({ ...message, login: message.login.toLowerCase(), id, at, listed: 0 })
      return { id }
    }
    case 'edit':
      Object.assign(gists.find((g) => g.id === message.id).files, message.files)
      return {}
    case 'drop': {
      const at = gists.findIndex((g) => g.id === message.id)
      if (at >= 0) gists.splice(at, 1)
      return {}
    }
    case 'rename': {
      const user = users.get(message.login)
      users.delete(message.login)
      users.set(message.to.toLowerCase(), { ...user, login: message.to })
      for (const gist of gists) if (gist.login === message.login) gist.login = message.to.toLowerCase()
      return {}
    }
    case 'limit':
      limit = message
      return {}
    case 'down':
      down = message.status
      return {}
    case 'token':
      tokens.set(message.token, { login: message.login.toLowerCase(), scopes: message.scopes })
      return {}
    case 'untoken':
      tokens.delete(message.token)
      return {}
    case 'stale':
      stale = message.seconds * 1000
      return {}
    case 'app':
      apps.set(message.client, message)
      return {}
    case 'device': {
      const device = [...devices.values()].find(({ code }) => code === message.code)
      device.login = message.login ?? null
      return {}
    }
    case 'gists':
      return gists.filter((g) => g.login === message.login.toLowerCase())
  }
}

const problem = (message, status, more = {}) => ({ message, ...more, documentation_url: 'https://docs.github.com/rest', status: `${status}` })
const invalid = (field) => problem('Validation Failed', 422, { errors: [{ resource: 'Gist', code: 'missing_field', field }] })

/** A write: what a token may not do is not found. */
function write(request, response, url, body, token, headers) {
  let wish
  try {
    wish = JSON.parse(body)
  } catch {
    wish = undefined
  }
  const one = url.pathname.match(/^\/gists(?:\/([0-9a-f]+))?$/)
  const gist = one?.[1] === undefined ? undefined : gists.find((g) => g.id === one[1] && g.login === token?.login)
  const may = token !== undefined && (token.scopes === null || token.scopes.includes('gist'))
  const creates = request.method === 'POST' && one !== null && one[1] === undefined
  if (token === undefined && one !== null) return send(response, 401, problem('Requires authentication', 401), headers)
  if (one === null || !may || (!creates && gist === undefined)) return send(response, 404, missing, headers)
  if (request.method === 'DELETE') {
    gists.splice(gists.indexOf(gist), 1)
    return send(response, 204, '', headers)
  }
  if (wish === undefined) return send(response, 400, problem('Problems parsing JSON', 400), headers)
  const at = new Date().toISOString().replace(/\.\d+/, '')
  const files = Object.entries(wish.files ?? {})
  const empty = files.some(([, file]) => file !== null && (typeof file.content !== 'string' || file.content === ''))
  if ((creates && files.length === 0) || empty) return send(response, 422, invalid('files'), headers)
  if (creates) {
    const id = randomBytes(16).toString('hex')
    const made = { login: token.login, id, at, files: {}, secret: wish.public !== true, description: wish.description, listed: Date.now() + stale }
    for (const [name, file] of files) made.files[name] = file.content
    gists.unshift(made)
    return send(response, 201, render(made, true), { ...headers, location: `http://127.0.0.1:${apiPort}/gists/${id}` })
  }
  for (const [name, file] of files) {
    if (file === null) delete gist.files[name]
    else gist.files[name] = file.content
  }
  gist.at = at
  return send(response, 200, render(gist, true), headers)
}

/** The device flow on github.com (RFC 8628): forms, unless JSON is asked for, and errors with 200. */
function login(response, path, form) {
  const reply = (value, status = 200) =>
    send(response, status, new URLSearchParams(value).toString(), { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' })
  const no = (error, error_description) => reply({ error, error_description, error_uri: 'https://docs.github.com/developers/apps/authorizing-oauth-apps' })
  const app = apps.get(form.get('client_id'))
  if (app === undefined) return reply({ error: 'Not Found' }, 404)
  if (path === '/login/device/code') {
    const device_code = randomBytes(20).toString('hex')
    const code = randomBytes(4).toString('hex').toUpperCase().replace(/^.{4}/, '$&-')
    devices.set(device_code, { ...app, code, until: Date.now() + app.lasts * 1000, next: Date.now() + app.interval * 1000 })
    return reply({ device_code, expires_in: app.lasts, interval: app.interval, user_code: code, verification_uri: 'https://github.com/login/device' })
  }
  const device = devices.get(form.get('device_code'))
  if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:device_code') return no('unsupported_grant_type', 'The grant type is not that of the device flow.')
  if (device === undefined || device.client !== form.get('client_id')) return no('incorrect_device_code', 'The device_code provided is not valid.')
  if (Date.now() >= device.until) return no('expired_token', 'The device_code has expired.')
  if (Date.now() < device.next) {
    device.interval += 5
    device.next = Date.now() + device.interval * 1000
    return no('slow_down', 'Too many requests have been made in the same timeframe.')
  }
  device.next = Date.now() + device.interval * 1000
  if (device.login === undefined) return no('authorization_pending', 'The authorization request is still pending.')
  if (device.login === null) return no('access_denied', 'The authorization request was denied.')
  const token = `test-device-${randomBytes(8).toString('hex')}`
  tokens.set(token, { login: device.login.toLowerCase(), scopes: ['gist'] })
  reply({ access_token: token, token_type: 'bearer', scope: 'gist' })
}

function api(request, response, url, body) {
  if (!request.headers['user-agent']) {
    const text =
      'Request forbidden by administrative rules. Please make sure your request has a User-Agent header'
    return send(response, 403, text, { 'content-type': 'text/plain' })
  }
  const reset = Math.floor(Date.now() / 1000) + 1800
  if (down) return send(response, down, { message: 'Server Error' })
  if (limit.remaining <= 0) {
    const headers = { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': `${reset}`, 'x-ratelimit-resource': 'core' }
    const body = { message: 'API rate limit exceeded for 127.0.0.1.', documentation_url: 'https://docs.github.com/rest' }
    if (limit.kind === 'secondary') {
      body.message = 'You have exceeded a secondary rate limit.'
      return send(response, 403, body, { 'retry-after': '60' })
    }
    return send(response, Number(limit.kind), body, headers)
  }
  limit.remaining -= 1
  const headers = {
    'cache-control': 'public, max-age=60, s-maxage=60',
    'x-ratelimit-limit': '60',
    'x-ratelimit-remaining': `${limit.remaining}`,
    'x-ratelimit-reset': `${reset}`,
    'x-ratelimit-resource': 'core',
    'x-github-request-id': randomBytes(8).toString('hex'),
  }
  const [, given] = /^(?:Bearer|token) (.+)$/.exec(request.headers.authorization ?? '') ?? []
  const token = tokens.get(given)
  if (given !== undefined && token === undefined) return send(response, 401, problem('Bad credentials', 401), headers)
  if (token !== undefined) {
    headers['cache-control'] = 'private, max-age=60, s-maxage=60'
    headers['x-ratelimit-limit'] = '5000'
    if (token.scopes !== null) headers['x-oauth-scopes'] = token.scopes.join(', ')
  }
  if (request.method !== 'GET') return write(request, response, url, body, token, headers)
  const reply = (value) => {
    const text = JSON.stringify(value)
    const etag = `W/"${createHash('sha256').update(text).digest('hex')}"`
    // Anonymous requests pay for a 304 as well.
    if (request.headers['if-none-match'] === etag) return send(response, 304, '', { ...headers, etag })
    return send(response, 200, text, { ...headers, etag })
  }
  const one = url.pathname.match(/^\/gists\/([0-9a-f]+)$/)
  if (one) {
    const gist = gists.find((g) => g.id === one[1])
    return gist ? reply(render(gist, true)) : send(response, 404, missing, headers)
  }
  if (url.pathname === '/user') {
    return token === undefined
      ? send(response, 401, problem('Requires authentication', 401), headers)
      : reply(whole(users.get(token.login)))
  }
  const account = url.pathname.match(/^\/users\/([^/]+)$/)
  if (account) {
    const user = users.get(account[1].toLowerCase())
    return user
      ? reply(whole(user))
      : send(response, 404, missing, headers)
  }
  const social = url.pathname.match(/^\/users\/([^/]+)\/social_accounts$/)
  if (social) {
    const user = users.get(social[1].toLowerCase())
    return user
      ? reply(user.social.map((url) => ({ provider: 'generic', url })))
      : send(response, 404, missing, headers)
  }
  // The list is asked for by login, and its further pages by the numeric id.
  const own = url.pathname === '/gists' && token !== undefined
  const list = url.pathname.match(/^\/users?\/([^/]+)\/gists$/)
  if (!list && !own) return send(response, 404, missing, headers)
  const name = own ? token.login : list[1].toLowerCase()
  const user = url.pathname.startsWith('/user/')
    ? [...users.values()].find((u) => `${u.id}` === name)
    : users.get(name)
  if (!user) return send(response, 404, missing, headers)
  const size = Math.min(Number(url.searchParams.get('per_page') ?? 30), 100)
  const page = Number(url.searchParams.get('page') ?? 1)
  const visible = (g) => own || (!g.secret && g.listed <= Date.now())
  const all = gists.filter((g) => g.login === user.login.toLowerCase() && visible(g))
  const last = Math.max(1, Math.ceil(all.length / size))
  const link = (n, rel) =>
    `<http://127.0.0.1:${apiPort}${own ? '/gists' : `/user/${user.id}/gists`}?per_page=${size}&page=${n}>; rel="${rel}"`
  const links = []
  if (page > 1) links.push(link(page - 1, 'prev'))
  if (page < last) links.push(link(page + 1, 'next'), link(last, 'last'))
  if (page > 1) links.push(link(1, 'first'))
  if (links.length) headers.link = links.join(', ')
  reply(all.slice((page - 1) * size, page * size).map((g) => render(g, false)))
}

createServer((request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1')
  if (request.method === 'OPTIONS') {
    return send(response, 204, '', {
      'access-control-allow-headers': 'Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since, Accept-Encoding, X-GitHub-OTP, X-Requested-With, User-Agent, GraphQL-Features, X-Github-Next-Global-ID',
      'access-control-allow-methods': 'GET, POST, PATCH, PUT, DELETE',
    })
  }
  let body = ''
  request.on('data', (chunk) => (body += chunk))
  request.on('end', () => {
    if (request.method === 'POST' && url.pathname === '/control') send(response, 200, control(JSON.parse(body)))
    else if (request.method === 'POST' && url.pathname.startsWith('/login/')) login(response, url.pathname, new URLSearchParams(body))
    else api(request, response, url, body)
  })
}).listen(apiPort, '127.0.0.1', () => console.log(JSON.stringify({ up: true })))

// The raw host looks a gist up by its id alone: the user in the path proves nothing.
createServer((request, response) => {
  const [, , id, , , name] = new URL(request.url, 'http://127.0.0.1').pathname.split('/')
  const text = gists.find((g) => g.id === id)?.files[name]
  response.writeHead(text === undefined ? 404 : 200, {
    'access-control-allow-origin': '*',
    'cache-control': 'max-age=300',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
  })
  response.end(text ?? '404: Not Found')
}).listen(rawPort, '127.0.0.1')
