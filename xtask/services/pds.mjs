// The official atproto PDS with its PLC directory, in memory. Creates the accounts that are named
// on the command line (handle=password) and prints one line of JSON when everything is up.
import { TestNetworkNoAppView } from '@atproto/dev-env'

const [plcPort, pdsPort, ...accounts] = process.argv.slice(2)
const net = await TestNetworkNoAppView.create({
  plc: { port: Number(plcPort) },
  pds: { port: Number(pdsPort), hostname: 'localhost' },
})

const dids = {}
for (const account of accounts) {
  const [handle, password] = account.split('=')
  const answer = await fetch(`${net.pds.url}/xrpc/com.atproto.server.createAccount`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ handle, password, email: `${handle}@mail.test` }),
  })
  const session = await answer.json()
  if (!answer.ok) throw new Error(JSON.stringify(session))
  dids[handle] = { did: session.did, token: session.accessJwt }
}
console.log(JSON.stringify({ plc: net.plc.url, pds: net.pds.url, accounts: dids }))
process.on('SIGTERM', async () => {
  await net.close()
  process.exit(0)
})
