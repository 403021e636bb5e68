// What every consumer does with the package: sign, verify, and catch one error by class and by code.
// It fetches nothing but the module itself.
export async function smoke(kez) {
  await kez.init()
  const key = kez.SecretKey.generate('nostr')
  const claim = await kez.Claim.create({ subject: 'dns:example.com', signer: key })
  const read = kez.Claim.parse(claim.encode('markdown'))
  if (read.id !== claim.id || read.primary !== key.identity) throw new Error('another claim')
  const chain = kez.Chain.start(key.identity)
  await chain.append({ type: 'add', subject: claim.subject, claim: claim.id }, { signers: [key] })
  const report = kez.judge(claim.encode('compact'), { subject: claim.subject, history: chain })
  if (report.status !== 'valid') throw new Error(JSON.stringify(report))
  try {
    kez.Claim.fromJson(claim.encode('json').replace('example.com', 'example.net'))
    throw new Error('a forged claim was read')
  } catch (error) {
    if (!(error instanceof kez.KezVerifyError) || error.code !== 'signature_bad') throw error
  }
  if (kez.parseIdentity('bücher.example') !== 'dns:xn--bcher-kva.example') throw new Error('IDNA')
  return 'signed and verified'
}
