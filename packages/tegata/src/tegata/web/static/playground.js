// Development only: the authorization code flow with PKCE as a single-page application runs it (RFC 6749 §4.1,
// RFC 7636, RFC 9207, RFC 9700 §2.1). Answers are shown with textContent alone.

const root = document.getElementById("playground");
const config = root.dataset;
const element = (id) => document.getElementById(`playground-${id}`);
const PENDING = "tegata.playground.pending";
const TOKENS = "tegata.playground.tokens";

class FlowError extends Error {}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const randomText = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

async function challengeOf(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function decodePart(part) {
  const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0))));
}

function decodeToken(token) {
  const parts = token.split(".");
  return parts.length === 3 ? { header: decodePart(parts[0]), claims: decodePart(parts[1]) } : null;
}

const load = (key) => JSON.parse(sessionStorage.getItem(key) ?? "null");
const save = (key, value) => sessionStorage.setItem(key, JSON.stringify(value));

function show(id, value) {
  element(id).textContent = typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function showToken(id, token) {
  show(id, token === undefined ? "–" : decodeToken(token) ?? "opaque");
  show(`${id}-raw`, token ?? "–");
}

function fail(error) {
  const box = element("error");
  box.textContent = error instanceof Error ? error.message : String(error);
  box.hidden = false;
  element("status").textContent = "";
}

function guarded(action) {
  return async () => {
    element("error").hidden = true;
    element("status").textContent = config.textWorking;
    root.setAttribute("aria-busy", "true");
    try {
      await action();
    } catch (error) {
      fail(error);
    } finally {
      root.removeAttribute("aria-busy");
    }
  };
}

async function start() {
  const pending = { verifier: randomText(), state: randomText(), nonce: randomText() };
  save(PENDING, pending);
  const query = new URLSearchParams({
    response_type: "code",
    client_id: config.clientId,
    redirect_uri: config.redirectUri,
    scope: config.scope,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await challengeOf(pending.verifier),
    code_challenge_method: "S256",
  });
  if (config.resource) query.set("resource", config.resource);
  location.assign(`${config.authorizationEndpoint}?${query}`);
}

async function readAnswer(response) {
  const text = await response.text();
  let body = text;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: shown as it came.
  }
  return { status: response.status, body };
}

async function askForTokens(parameters) {
  const response = await fetch(config.tokenEndpoint, {
    method: "POST",
    body: new URLSearchParams({ client_id: config.clientId, ...parameters }),
  });
  const { status, body } = await readAnswer(response);
  if (!response.ok) throw new FlowError(`${status} ${body.error ?? ""}: ${body.error_description ?? ""}`);
  return body;
}

// What a relying party must check in an ID token that came straight from the token endpoint (OIDC Core §3.1.3.7).
function checkIdToken(token, nonce) {
  const { claims } = decodeToken(token);
  if (claims.iss !== config.issuer) throw new FlowError(`iss: ${claims.iss} ≠ ${config.issuer}`);
  if (![claims.aud].flat().includes(config.clientId)) throw new FlowError(`aud: ${claims.aud}`);
  if (nonce !== undefined && claims.nonce !== nonce) throw new FlowError("nonce mismatch");
  if (claims.exp * 1000 < Date.now()) throw new FlowError("ID token expired");
}

async function finish(answer) {
  const pending = load(PENDING);
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", location.pathname);
  if (pending === null || answer.get("state") !== pending.state) throw new FlowError("state mismatch");
  if (answer.get("iss") !== config.issuer) throw new FlowError(`iss: ${answer.get("iss")} ≠ ${config.issuer}`);
  if (answer.has("error")) throw new FlowError(`${answer.get("error")}: ${answer.get("error_description") ?? ""}`);
  const tokens = await askForTokens({
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: config.redirectUri,
    code_verifier: pending.verifier,
  });
  checkIdToken(tokens.id_token, pending.nonce);
  save(TOKENS, tokens);
  await showAll(config.textSignedIn);
}

const withToken = (tokens) => ({ authorization: `Bearer ${tokens.access_token}` });

async function callApi(method) {
  const headers = withToken(load(TOKENS));
  const options = { method, headers };
  if (method === "POST") {
    headers["content-type"] = "application/json";
    options.body = JSON.stringify({ title: `Playground ${new Date().toISOString()}` });
  }
  const { status, body } = await readAnswer(await fetch(config.apiUri, options));
  show("api-answer", { request: `${method} ${new URL(config.apiUri, location).pathname}`, status, body });
}

async function showAll(message) {
  const tokens = load(TOKENS);
  element("results").hidden = false;
  for (const id of ["api-get", "api-post", "sign-out"]) element(id).hidden = false;
  element("refresh").hidden = tokens.refresh_token === undefined;
  showToken("id-token", tokens.id_token);
  showToken("access-token", tokens.access_token);
  const userinfo = await readAnswer(await fetch(config.userinfoEndpoint, { headers: withToken(tokens) }));
  show("userinfo", userinfo.status === 200 ? userinfo.body : userinfo);
  await callApi("GET");
  element("status").textContent = message;
}

async function refresh() {
  const tokens = load(TOKENS);
  const fresh = await askForTokens({ grant_type: "refresh_token", refresh_token: tokens.refresh_token });
  if (fresh.id_token !== undefined) checkIdToken(fresh.id_token);
  save(TOKENS, { ...tokens, ...fresh });
  await showAll(config.textRefreshed);
}

async function signOut() {
  const tokens = load(TOKENS);
  sessionStorage.removeItem(TOKENS);
  const query = new URLSearchParams({ client_id: config.clientId, post_logout_redirect_uri: config.redirectUri });
  if (tokens?.id_token !== undefined) query.set("id_token_hint", tokens.id_token);
  const state = randomText();
  save(PENDING, { state, logout: true });
  query.set("state", state);
  location.assign(`${config.endSessionEndpoint}?${query}`);
}

function finishSignOut(answer) {
  const pending = load(PENDING);
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", location.pathname);
  if (pending?.logout && pending.state === answer.get("state")) element("status").textContent = config.textSignedOut;
}

function main() {
  // The session storage, the redirect URI and `connect-src 'self'` all belong to one origin: localhost and 127.0.0.1
  // are two.
  const home = new URL(config.redirectUri, location);
  if (home.origin !== location.origin) {
    location.replace(home);
    return;
  }
  element("start").addEventListener("click", guarded(start));
  element("refresh").addEventListener("click", guarded(refresh));
  element("sign-out").addEventListener("click", guarded(signOut));
  element("api-get").addEventListener("click", guarded(() => callApi("GET").then(posted)));
  element("api-post").addEventListener("click", guarded(() => callApi("POST").then(posted)));
  const answer = new URLSearchParams(location.search);
  if (answer.has("code") || answer.has("error")) guarded(() => finish(answer))();
  else if (answer.has("state")) finishSignOut(answer);
  else if (load(TOKENS) !== null) guarded(() => showAll(""))();
}

function posted() {
  element("status").textContent = config.textPosted;
}

main();
