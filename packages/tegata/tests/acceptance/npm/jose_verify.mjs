// Verify a JWT with jose and the keys at an address: {token, jwks_uri, issuer, audience, typ?, algorithms}.
import { createRemoteJWKSet, jwtVerify } from 'jose'

const parts = []
for await (const part of process.stdin) parts.push(part)
const asked = JSON.parse(Buffer.concat(parts).toString('utf8'))

let result
try {
  const { payload, protectedHeader } = await jwtVerify(asked.token, createRemoteJWKSet(new URL(asked.jwks_uri)), {
    issuer: asked.issuer,
    audience: asked.audience,
    typ: asked.typ,
    algorithms: asked.algorithms,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
  })
  result = { payload, header: protectedHeader }
} catch (error) {
  result = { failed: { name: error.name, code: error.code, description: error.message } }
}
process.stdout.write(JSON.stringify(result))
