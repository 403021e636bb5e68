// Holds the gist emulator against GitHub's own OpenAPI document (@octokit/openapi): every answer that the tests rely on must
// be one that the document allows. Called with the emulator's URL; prints what it found, and fails if anything differs.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import Ajv from 'ajv'

const api = process.argv[2]
const document = JSON.parse(readFileSync(createRequire(import.meta.url).resolve('@octokit/openapi/generated/api.github.com.json')))
// OpenAPI 3.0 has keywords of its own, and formats that say nothing about the form.
const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true })
ajv.addSchema({ $id: 'github', ...document })

/** What an operation may answer, by the document. */
function check(method, path, status, body, headers) {
  const resolve = (value) => (value?.$ref === undefined ? value : value.$ref.slice(2).split('/').reduce((at, key) => at[key], document))
  const operation = document.paths[path]?.[method.toLowerCase()]
  if (operation === undefined) return [`${method} ${path} is no operation`]
  const answer = resolve(operation.responses[status])
  if (answer === undefined) return [`${method} ${path}: status ${status} is none of ${Object.keys(operation.responses)}`]
  const schema = answer.content?.['application/json']?.schema
  if (schema === undefined) return []
  if (!/^application\/json/.test(headers.get('content-type') ?? '')) return [`${method} ${path}: ${headers.get('content-type')}`]
  const pointer = `#/paths/${path.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')}/${method.toLowerCase()}/responses/${status}`
  const where = operation.responses[status].$ref ?? pointer
  const validate = ajv.getSchema(`github${where}/content/application~1json/schema`)
  if (validate(body)) return []
  return validate.errors.map(({ instancePath, message, params }) => `${method} ${path} ${status}: ${instancePath} ${message} ${JSON.stringify(params)}`)
}

const problems = []
let checked = 0
async function ask(method, path, values, wanted, { token, body } = {}) {
  const target = path.replace(/\{(\w+)\}/g, (_, name) => values[name])
  const answer = await fetch(api + target, {
    method,
    headers: { 'user-agent': 'contract', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const value = text === '' ? undefined : JSON.parse(text)
  checked += 1
  if (answer.status !== wanted) problems.push(`${method} ${target}: status ${answer.status}, ${wanted} wanted: ${text}`)
  problems.push(...check(method, path, answer.status, value, answer.headers))
  return { value, headers: answer.headers }
}
const control = (message) => fetch(`${api}/control`, { method: 'POST', body: JSON.stringify(message) })

await control({ op: 'user', login: 'Contract', id: 4242, social: ['https://example.com/'] })
await control({ op: 'token', token: 'test-contract', login: 'contract', scopes: ['gist'] })
await control({ op: 'token', token: 'test-reader', login: 'contract', scopes: ['repo'] })
const token = 'test-contract'
const username = 'contract'
await ask('GET', '/user', {}, 200, { token })
await ask('GET', '/user', {}, 401)
await ask('GET', '/user', {}, 401, { token: 'test-nobody' })
await ask('GET', '/users/{username}', { username }, 200)
await ask('GET', '/users/{username}', { username: 'nobody-at-all' }, 404)
await ask('GET', '/users/{username}/social_accounts', { username }, 200)
const made = await ask('POST', '/gists', {}, 201, { token, body: { public: true, description: 'one', files: { 'kez.md': { content: 'text' } } } })
if (made.headers.get('location') !== `${api}/gists/${made.value.id}`) problems.push('no Location')
const gist_id = made.value.id
await ask('POST', '/gists', {}, 422, { token, body: { files: {} } })
await ask('POST', '/gists', {}, 404, { token: 'test-reader', body: { files: { a: { content: 'b' } } } })
await ask('GET', '/gists', {}, 200, { token })
await ask('GET', '/gists/{gist_id}', { gist_id }, 200)
await ask('GET', '/gists/{gist_id}', { gist_id: '0'.repeat(32) }, 404)
await ask('GET', '/users/{username}/gists', { username }, 200)
await ask('PATCH', '/gists/{gist_id}', { gist_id }, 200, { token, body: { files: { 'kez.md': { content: 'other' } } } })
await ask('PATCH', '/gists/{gist_id}', { gist_id }, 404, { token: 'test-reader', body: { files: { 'kez.md': { content: 'other' } } } })
await ask('DELETE', '/gists/{gist_id}', { gist_id }, 204, { token })
await ask('DELETE', '/gists/{gist_id}', { gist_id }, 404, { token })

for (const problem of new Set(problems)) console.log(problem)
console.log(`${checked} answers, ${problems.length} problems`)
process.exit(problems.length === 0 && checked > 15 ? 0 : 1)
