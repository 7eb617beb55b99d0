// A link of `facepay page` carries its secret behind the #, which no browser sends: it goes in as a form would,
// but not through the form, where a password manager would keep what is good once.
"use strict";

async function enter() {
  const given = location.hash.slice(1);
  if (!given) return;
  history.replaceState(null, "", "/login");
  const answer = await fetch("/login", { method: "POST", body: new URLSearchParams({ token: given }) });
  if (answer.ok) location.replace("/");
  else document.getElementById("wrong").hidden = false;
}

enter();
addEventListener("hashchange", enter);
