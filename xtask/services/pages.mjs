// A plain static web server for one directory: the web host of example.com.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'

const [port, root] = process.argv.slice(2)
const TYPES = { '.html': 'text/html; charset=utf-8', '.txt': 'text/plain; charset=utf-8' }
createServer(async (request, response) => {
  let path = normalize(decodeURIComponent(new URL(request.url, 'http://h').pathname))
  if (path.endsWith('/')) path += 'index.html'
  try {
    const body = await readFile(join(root, path))
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' })
    response.end(body)
  } catch {
    response.writeHead(404, { 'content-type': 'text/plain' })
    response.end('not found')
  }
}).listen(Number(port), '127.0.0.1', () => console.log(JSON.stringify({ up: true })))
