// A plain static web server for one directory: the web host of example.com.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join, normalize } from 'node:path'

const [port, root] = process.argv.slice(2)
createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://h').pathname))
  try {
    const body = await readFile(join(root, path))
    response.writeHead(200, { 'content-type': 'application/octet-stream' })
    response.end(body)
  } catch {
    response.writeHead(404, { 'content-type': 'text/plain' })
    response.end('not found')
  }
}).listen(Number(port), '127.0.0.1', () => console.log(JSON.stringify({ up: true })))
