// Keyoxide profiles as their makers write them: OpenPGP keys by OpenPGP.js, which Keyoxide itself
// uses, and Ariadne signature profiles by jose.
//
// stdin: {"name": "...", "claims": ["uri", ...]}; stdout: {"openpgp": {kind: {fingerprint, armored,
// binary}}, "aspe": {alg: {id, jws}}}
import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import * as jose from 'jose'
import * as openpgp from 'openpgp'

const { name, claims } = JSON.parse(await text(process.stdin))
const userIDs = [{ name, email: 'alice@example.com' }]
const { enums } = openpgp

async function certify(key, notations, seconds, type = enums.signature.certPositive) {
  const packet = new openpgp.SignaturePacket()
  packet.signatureType = type
  packet.publicKeyAlgorithm = key.keyPacket.algorithm
  packet.hashAlgorithm = enums.hash.sha512
  packet.issuerKeyVersion = key.keyPacket.version
  packet.issuerFingerprint = key.keyPacket.getFingerprintBytes()
  packet.issuerKeyID = key.keyPacket.getKeyID()
  packet.keyFlags = [enums.keyFlags.certifyKeys | enums.keyFlags.signData]
  packet.rawNotations = notations.map((uri) => ({
    humanReadable: true,
    critical: false,
    name: 'proof@ariadne.id',
    value: new TextEncoder().encode(uri),
  }))
  const date = new Date(Date.now() - 1000 * seconds)
  const { userID } = key.users[0]
  await packet.sign(key.keyPacket, { userID, key: key.keyPacket }, date, false, openpgp.config)
  return packet
}

async function certificate(options, change = () => {}) {
  const date = new Date(Date.now() - 86_400_000)
  const made = await openpgp.generateKey({ userIDs, format: 'object', date, ...options })
  const key = made.privateKey
  const user = key.users[0]
  // An older signature claims something else, which the newer one has dropped.
  user.selfCertifications = [
    await certify(key, ['https://old.example/'], 7200),
    await certify(key, claims, 3600),
  ]
  await change(key, user)
  const open = key.toPublic()
  return {
    fingerprint: open.getFingerprint(),
    armored: open.armor(),
    binary: Buffer.from(open.write()).toString('base64'),
  }
}

const forge = (options) => async (key, user) => {
  const other = (await openpgp.generateKey({ userIDs, format: 'object', ...options })).privateKey
  const packet = await certify(other, ['https://evil.example/'], 60)
  packet.issuerFingerprint = key.keyPacket.getFingerprintBytes()
  packet.issuerKeyID = key.keyPacket.getKeyID()
  user.selfCertifications.push(packet)
}

const v4 = { type: 'ecc', curve: 'ed25519Legacy' }
const rsa = { type: 'rsa', rsaBits: 2048 }
const foreign = {
  legacy: await certificate(v4),
  v6: await certificate({ type: 'curve25519', config: { v6Keys: true } }),
  rsa: await certificate(rsa),
  p256: await certificate({ type: 'ecc', curve: 'nistP256' }),
  // Somebody else's signature over the same user id, with claims of their own.
  forged: await certificate(v4, forge(v4)),
  forgedRsa: await certificate(rsa, forge(rsa)),
  dropped: await certificate(v4, async (key, user) => {
    user.revocationSignatures = [await certify(key, [], 60, enums.signature.certRevocation)]
  }),
}
const { privateKey } = await openpgp.generateKey({ userIDs, format: 'object', ...v4 })
const revoked = (await privateKey.revoke()).toPublic()
foreign.revoked = { fingerprint: revoked.getFingerprint(), armored: revoked.armor() }

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
async function profile(alg, options) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, options)
  const jwk = await jose.exportJWK(publicKey)
  const thumbprint = Buffer.from(await jose.calculateJwkThumbprint(jwk, 'sha512'), 'base64url')
  let bits = ''
  for (const byte of thumbprint.subarray(0, 16)) bits += byte.toString(2).padStart(8, '0')
  const id = bits.match(/.{1,5}/g).map((five) => BASE32[parseInt(five.padEnd(5, '0'), 2)]).join('')
  const payload = {
    'http://ariadne.id/version': 0,
    'http://ariadne.id/type': 'profile',
    'http://ariadne.id/name': name,
    'http://ariadne.id/claims': claims,
  }
  const jws = await new jose.CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader({ typ: 'JWT', alg, kid: id, jwk })
    .sign(privateKey)
  return { id, jws }
}
const aspe = { EdDSA: await profile('EdDSA', { crv: 'Ed25519' }), ES256: await profile('ES256') }

// The place of a key in a web key directory, by the draft's words.
const local = createHash('sha1').update('alice').digest()
let bits = ''
for (const byte of local) bits += byte.toString(2).padStart(8, '0')
const zbase32 = 'ybndrfg8ejkmcpqxot1uwisza345h769'
const hu = bits.match(/.{5}/g).map((five) => zbase32[parseInt(five, 2)]).join('')
console.log(JSON.stringify({ openpgp: foreign, aspe, hu }))
