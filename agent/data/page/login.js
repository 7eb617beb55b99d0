// A link of `facepay page` carries its secret behind the #, which no browser sends to a server. The script posts
// the secret without the form, so that no password manager stores a secret that works only once.
"use strict";

async function logIn() {
  const secret = location.hash.slice(1);
  if (!secret) return;
  history.replaceState(null, "", "/login");
  const answer = await fetch("/login", { method: "POST", body: new URLSearchParams({ token: secret }) });
  if (answer.ok) location.replace("/");
  else document.getElementById("wrong").hidden = false;
}

logIn();
addEventListener("hashchange", logIn);
