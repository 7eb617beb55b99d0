// A link of `facepay page` carries its pass behind the #, which no browser sends: it goes in with the form.
"use strict";

function enter() {
  const given = location.hash.slice(1);
  if (!given) return;
  history.replaceState(null, "", "/login");
  document.getElementById("token").value = given;
  document.getElementById("login").submit();
}

enter();
addEventListener("hashchange", enter);
