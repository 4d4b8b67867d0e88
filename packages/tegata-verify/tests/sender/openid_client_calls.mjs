// Calls a service with openid-client and DPoP: {calls: [{algorithm, key, token, requests}]} as JSON on stdin, on stdout
// for each call what the library said of each request. Run it where node_modules is: node --input-type=module -e "…".
import * as client from 'openid-client'

const parts = []
for await (const part of process.stdin) parts.push(part)
const asked = JSON.parse(Buffer.concat(parts).toString('utf8'))

const imports = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  EdDSA: { name: 'Ed25519' },
  Ed25519: { name: 'Ed25519' },
}

async function keyPair(algorithm, { d, p, q, dp, dq, qi, kid, ...key }) {
  const secret = { ...key, d, ...(p && { p, q, dp, dq, qi }) }
  return {
    privateKey: await crypto.subtle.importKey('jwk', secret, imports[algorithm], false, ['sign']),
    publicKey: await crypto.subtle.importKey('jwk', key, imports[algorithm], true, ['verify']),
  }
}

async function answer(promise) {
  try {
    const response = await promise
    return { status: response.status, body: await response.text() }
  } catch (error) {
    return { status: error.status, code: error.code, challenges: error.cause }
  }
}

// The library says Ed25519 (RFC 9864) of itself, and can be made to say EdDSA (RFC 8037).
const remap = { [client.modifyAssertion]: (header) => { if (header.alg === 'Ed25519') header.alg = 'EdDSA' } }
const told = []
for (const call of asked.calls) {
  const config = new client.Configuration({ issuer: 'https://issuer.test' }, 'client-1')
  client.allowInsecureRequests(config)
  const pair = call.key && (await keyPair(call.algorithm, call.key))
  const DPoP = pair && client.getDPoPHandle(config, pair, call.algorithm === 'EdDSA' ? remap : undefined)
  const answers = []
  for (const { method, url, body } of call.requests) {
    answers.push(await answer(client.fetchProtectedResource(
      config, call.token, new URL(url), method, body, new Headers({ 'content-type': 'text/plain' }), { DPoP },
    )))
  }
  told.push({ thumbprint: DPoP && (await DPoP.calculateThumbprint()), answers })
}
console.log(JSON.stringify(told))
