"use strict";

const FORGED = {
  "x-amzn-oidc-identity": "somebody-else",
  "x-amzn-oidc-data": "e30=.e30=.forged",
  "x-amzn-oidc-accesstoken": "e30.e30.forged",
};

// What is asked, how, and what an answer means.
const REQUESTS = [
  { title: "Who am I?", path: "/me", explain: (status) => (status === 200 ? "Any user may ask." : "") },
  {
    title: "The report",
    path: "/admin/report",
    explain: (status) => ({ 200: "You are in the group admin.", 403: "It is for the group admin, and you are not in it." })[status],
  },
  {
    title: "Who am I, if I say that I am somebody else?",
    path: "/me",
    headers: FORGED,
    explain: (status, body, me) =>
      status === 200 && me && body.subject === me.subject
        ? "Still you: the load balancer takes such headers of a browser away and writes its own."
        : "",
  },
  {
    title: "Who am I, with a token of my own making?",
    path: "/me",
    headers: { Authorization: "Bearer e30.e30.forged" },
    explain: (status, body, me) =>
      status === 200 && me && body.subject === me.subject
        ? "Still you: behind the load balancer only what it says of you counts."
        : "It came beside the load balancer's. Which of them counts would be a guess, so neither does.",
  },
];

const PROFILE = { email: "E-mail", subject: "Subject", roles: "Groups", client_id: "Client", scopes: "Scopes" };

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function ask({ path, headers }) {
  try {
    const response = await fetch(path, { headers: { Accept: "application/json", ...headers } });
    // The session has ended: the load balancer sends everybody to its login page.
    if (response.redirected) location.assign("/");
    const text = await response.text();
    let body = text;
    try {
      body = JSON.parse(text);
    } catch {
      // An answer of nginx or of a load balancer is no JSON.
    }
    return { status: response.status, body };
  } catch {
    return { status: 0, body: "no answer" };
  }
}

function show(request, { status, body }, me) {
  const allowed = status >= 200 && status < 300;
  const item = document.createElement("li");
  const line = element("p", "", "line");
  line.append(
    element("strong", request.title),
    element("span", `${status || "–"} ${allowed ? "allowed" : "refused"}`, allowed ? "badge allowed" : "badge refused"),
  );
  item.append(line);
  const meaning = request.explain(status, body, me);
  if (meaning) item.append(element("p", meaning));
  const details = document.createElement("details");
  details.append(
    element("summary", `GET ${request.path}${request.headers ? " with forged headers" : ""}`),
    element("pre", typeof body === "string" ? body : JSON.stringify(body, null, 2)),
  );
  item.append(details);
  document.getElementById("answers").append(item);
}

function introduce(me) {
  const list = document.getElementById("profile");
  list.replaceChildren();
  for (const [name, label] of Object.entries(PROFILE)) {
    const value = Array.isArray(me[name]) ? me[name].join(", ") : me[name];
    list.append(element("dt", label), element("dd", value || "none"));
  }
}

async function main() {
  let me = null;
  for (const request of REQUESTS) {
    const answer = await ask(request);
    if (!me && answer.status === 200 && answer.body.subject) {
      me = answer.body;
      introduce(me);
    }
    show(request, answer, me);
  }
  document.body.dataset.done = "yes";
}

main();
