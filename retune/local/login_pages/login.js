"use strict";

// This session's half that only pages of this origin can read; see session.js.
const STORED_AS = "retune-session";
const SEEN = "retune-session-seen";

function say(trouble) {
  document.getElementById("trouble").textContent = trouble;
  document.getElementById("ways").hidden = false;
}

function next() {
  // This page also stands in for any other page that was opened without a session.
  // With its origin: a path that begins with two slashes would be another host.
  const page = location.pathname.endsWith("/login") ? "/" : location.pathname + location.search;
  location.replace(location.origin + page);
}

async function logIn(given, trouble) {
  const answer = await fetch("/retune/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(given),
  });
  if (!answer.ok) return say(trouble);
  localStorage.setItem(STORED_AS, (await answer.json()).page_secret);
  next();
}

async function begin() {
  const token = location.hash.slice(1);
  if (token) {
    // Out of the address bar and the history.
    history.replaceState(null, "", location.pathname + location.search);
    return logIn({ token }, "This link was used before or has expired.");
  }
  // A link on another site brings no cookie with it; from here on there is one, if there is a session.
  const headers = { Authorization: `Basic ${localStorage.getItem(STORED_AS)}` };
  const hasSession = (await fetch("/retune/session", { headers })).status === 204;
  if (hasSession && !sessionStorage.getItem(SEEN)) {
    sessionStorage.setItem(SEEN, "yes");
    return next();
  }
  sessionStorage.removeItem(SEEN);
  say("");
}

document.getElementById("password-form").addEventListener("submit", (event) => {
  event.preventDefault();
  logIn({ password: document.getElementById("password").value }, "The password is wrong.");
});
begin().catch((error) => say(`The server does not answer: ${error.message}`));
