// One step of a relying party built on openid-client: {step, ...} as JSON on stdin, the result as JSON on stdout.
// An error of the library becomes {"failed": {name, code, error, description}}.
import * as client from 'openid-client'
import { importJWK } from 'jose'

const asked = JSON.parse(await readStdin())

async function readStdin() {
  const parts = []
  for await (const part of process.stdin) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}

async function authentication() {
  switch (asked.method) {
    case 'client_secret_basic':
      return client.ClientSecretBasic(asked.client_secret)
    case 'client_secret_post':
      return client.ClientSecretPost(asked.client_secret)
    case 'private_key_jwt': {
      const jwk = asked.jwks.keys[0]
      const key = await importJWK(jwk, jwk.alg ?? 'ES256')
      return client.PrivateKeyJwt({ key, kid: jwk.kid })
    }
    default:
      return client.None()
  }
}

async function configuration() {
  const config = await client.discovery(
    new URL(asked.issuer), asked.client_id, asked.metadata ?? {}, await authentication(),
    { execute: [client.allowInsecureRequests], algorithm: asked.algorithm ?? 'oidc' },
  )
  // Verify the ID token's signature as well, although it comes straight from the token endpoint.
  client.enableNonRepudiationChecks(config)
  return config
}

const steps = {
  async discover(config) {
    return config.serverMetadata()
  },

  async begin(config) {
    const code_verifier = client.randomPKCECodeVerifier()
    const state = client.randomState()
    const nonce = client.randomNonce()
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: asked.redirect_uri,
      scope: asked.scope,
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
      code_challenge_method: 'S256',
      ...asked.parameters,
    })
    return { url: url.href, code_verifier, state, nonce }
  },

  async redeem(config) {
    let answer = new URL(asked.landing.url)
    if (asked.landing.mode === 'form_post') {
      answer = new Request(answer, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(asked.landing.params).toString(),
      })
    }
    const tokens = await client.authorizationCodeGrant(config, answer, {
      pkceCodeVerifier: asked.code_verifier,
      expectedState: asked.state,
      expectedNonce: asked.nonce,
      idTokenExpected: true,
      maxAge: asked.max_age,
    })
    return { tokens, claims: tokens.claims() }
  },

  async refresh(config) {
    const tokens = await client.refreshTokenGrant(config, asked.refresh_token)
    return { tokens, claims: tokens.claims() ?? null }
  },

  async userinfo(config) {
    return client.fetchUserInfo(config, asked.access_token, asked.subject)
  },

  async introspect(config) {
    return client.tokenIntrospection(config, asked.token)
  },

  async revoke(config) {
    await client.tokenRevocation(config, asked.token)
    return {}
  },

  async clientCredentials(config) {
    return { tokens: await client.clientCredentialsGrant(config, asked.parameters) }
  },

  async endSession(config) {
    return { url: client.buildEndSessionUrl(config, asked.parameters).href }
  },
}

let result
try {
  result = await steps[asked.step](await configuration())
} catch (error) {
  result = {
    failed: {
      name: error.name,
      code: error.code,
      error: error.error,
      description: error.error_description ?? error.message,
      cause: error.cause instanceof Error ? error.cause.message : undefined,
    },
  }
}
process.stdout.write(JSON.stringify(result))
