// Shows /status.json every two seconds while the page is visible. No library; stores only the language.
// All texts come from /texts.json: a further language is a further message file of the agent.
"use strict";

const EVERY_MS = 2000, TIMEOUT_MS = 5000, DOCTOR_EVERY_MS = 1000, SEEN_EVERY_MS = 500;
const PHASES = ["wait_face", "hold", "encode", "sign", "connect", "api", "other"];
const VERDICTS = { fail: ["✗", "bad"], warn: ["!", "warn"], skip: ["–", ""], pass: ["✓", "good"] };
const $ = (id) => document.getElementById(id);
let texts = null, locale = 0; // the index of the chosen language in texts.locales
let status = null, statusAt = 0, report = null, isOpen = false, openedAt = 0;
let seen = null, previews = 0; // facts of the newest picture; the number of opened previews
const drawn = {};

function named(kind, code) { return texts?.[kind]?.[code]?.[locale] ?? code; }
function t(key, facts = {}) { return named("page", key).replace(/\{(\w+)\}/g, (_, name) => facts[name]); }

// A field that the agent writes once per language: title, title_zh, …
function local(row, field) {
  const language = texts.locales[locale].split("-")[0];
  return row[`${field}_${language}`] || row[field];
}

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

async function fetched(path, options) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function duration(seconds) {
  const facts = {
    d: Math.floor(seconds / 86400), h: Math.floor(seconds / 3600) % 24,
    min: Math.floor(seconds / 60) % 60, s: seconds % 60,
  };
  if (facts.d) return t("days_hours", facts);
  if (facts.h) return t("hours_minutes", facts);
  if (facts.min >= 10) return t("minutes", facts);
  return t(facts.min ? "minutes_seconds" : "seconds", facts);
}

function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1024)} kB` : `${(count / 1048576).toFixed(1)} MB`;
}

// Changes only what differs: a screen reader reads each change aloud, and a selection survives a poll.
function put(id, text, name) {
  if ($(id).textContent !== text) $(id).textContent = text;
  if (name !== undefined && $(id).className !== name) $(id).className = name;
}

function number(id, text, name) { put(id, text, name || ""); }

function redraw(id, facts, build) {
  const key = JSON.stringify([locale, facts]);
  if (drawn[id] === key) return;
  drawn[id] = key;
  $(id).replaceChildren(...build());
}

function bars(id, rows, none, before) {
  const most = Math.max(1, ...rows.map((row) => row[1]));
  redraw(id, [rows, before], () => [
    ...(before ? [make("p", before, "quiet across")] : []),
    ...rows.flatMap(([text, count, name]) => {
      const track = make("i"), bar = make("i", undefined, name);
      bar.style.width = `${(100 * count) / most}%`;
      if (count) track.append(bar);
      return [make("span", text), track, make("b", String(count))];
    }),
    ...(rows.length ? [] : [make("p", none, "quiet across")]),
  ]);
}

function showConditions(list, others) {
  redraw("conditions", [list.map((each) => [each.code, each.detail]), others], () => {
    if (!list.length) return [make("p", t("no_conditions"), "calm")];
    const codes = others.map((each) => t("consequence", each)).join(", ");
    return [...list.map(condition), ...(codes ? [make("p", t("consequences", { codes }), "quiet")] : [])];
  });
  list.forEach((each) => put(`lasted-${each.code}`, t("lasted", { duration: duration(each.lasted_s) })));
}

function condition(each) {
  const box = make("div", undefined, `condition ${each.severity}`), lasted = make("p", undefined, "quiet");
  const head = make("h2", local(each, "title"));
  head.prepend(make("span", t(each.severity), "kind"));
  head.append(" ", documented(each, each.code));
  lasted.id = `lasted-${each.code}`;
  lasted.setAttribute("aria-live", "off");
  box.append(head, make("p", t("cause", { cause: local(each, "cause") }), "wide"));
  if (each.detail) box.append(make("p", t("reported", { detail: local(each, "detail") }), "wide"));
  box.append(make("p", t("fix", { fix: local(each, "fix") }), "fix wide"), documentation(each), lasted);
  return box;
}

// The name of a finding, as a link to its section of the documentation on this terminal.
function documented(row, name) {
  const place = /^docs\/reference\/(\w+)\.md#([\w-]+)$/.exec(row.docs || ""), code = make("code", name);
  if (!place) return code;
  const link = make("a");
  link.href = `/docs/reference/${place[1]}/${place[2]}?lang=${texts.locales[locale]}`;
  link.append(code);
  return link;
}

// The path, too: for a reader on another machine.
function documentation(row) {
  return make("p", row.docs ? t("docs", row) : "", "docs quiet");
}

function showFrames(frames) {
  const sum = (...names) => names.reduce((total, name) => total + (frames[name] || 0), 0);
  const all = sum(...Object.keys(frames)), idle = sum("idle"), checked = all - idle;
  bars("steps", [
    [t("frames_checked"), checked],
    [t("frames_with_face"), checked - sum("no_presence", "no_face")],
    [t("frames_usable"), sum("shot", "followed"), "good"],
    [t("frames_paid"), status.counters.calls, "good"],
  ], "", t("frames_total", { all, idle }));
  bars("reasons", Object.entries(frames).filter(([name]) => name !== "idle").sort((a, b) => b[1] - a[1])
    .map(([name, count]) => [named("frame", name), count, ["shot", "followed"].includes(name) ? "good" : ""]),
  t("frames_none"));
}

function showLast(list) {
  redraw("rows", list, () => {
    const most = Math.max(1, ...list.map((each) => each.timings_ms.total));
    return list.length ? list.map((each) => verification(each, most)) : [make("p", t("verifications_none"), "quiet")];
  });
}

function verification(each, most) {
  const colour = { match: "good", no_match: "bad", undecided: "warn" };
  const row = make("div", undefined, "run"), head = make("h3"), fall = make("div", undefined, "fall");
  const parts = make("p", undefined, "parts"), times = each.timings_ms;
  head.append(make("span", named("decision", each.decision), colour[each.decision]), make("span", ended(each)),
    make("span", `${times.total} ms`));
  const known = PHASES.reduce((total, name) => total + (times[name] || 0), 0);
  const spent = { ...times, other: Math.max(0, times.total - known) };
  PHASES.forEach((name, place) => {
    if (!spent[name]) return;
    const piece = make("i", undefined, `p${place}`), part = make("span");
    piece.style.width = `${(100 * spent[name]) / most}%`;
    fall.append(piece);
    part.append(make("i", undefined, `p${place}`), `${named("phase", name)} ${spent[name]} ms`);
    parts.append(part);
  });
  const calls = t(each.api_code ? "api_calls_code" : "api_calls", { count: each.asks, code: each.api_code });
  row.append(head, fall, parts, make("p", t("reason_calls", { code: each.reason, reason: named("outcome", each.reason), calls }), "why"),
    make("p", t("origin", each), "origin quiet"));
  return row;
}

// The time of day; with the date when that is not today.
function ended(each) {
  const at = new Date(each.ended_unix_ms), isToday = at.toDateString() === new Date().toDateString();
  return at.toLocaleString(texts.locales[locale], { ...(isToday ? {} : { dateStyle: "short" }), timeStyle: "medium" });
}

function showResults(results) {
  const colour = (name) => ({ match: "good", no_match: "bad" })[name.split("/")[0]] || "warn";
  bars("results", Object.entries(results).sort((a, b) => b[1] - a[1]).map(([name, count]) => {
    const [decision, reason] = name.split("/"), text = named("decision", decision);
    return [decision === "undecided" ? `${text}: ${reason}` : text, count, colour(name)];
  }), t("results_none"));
}

function show() {
  if (!status || !texts) return;
  const { camera, mqtt, counters } = status;
  document.title = `${status.terminal} · facepay`;
  put("who", `${status.site} / ${status.terminal}`);
  put("version", `${status.version} · ${status.profile} · ${camera.kind}`);
  showState();
  showConditions(status.conditions, status.consequences);
  const age = camera.frame_age_ms, luma = camera.mean_luma;
  number("fps", camera.fps.toFixed(1), camera.fps > 0 ? "" : "bad");
  number("age", age === null ? "–" : age < 10000 ? `${age} ms` : duration(Math.round(age / 1000)), age > 2000 ? "bad" : "");
  number("luma", luma === null ? "–" : String(luma), luma !== null && (luma < 40 || luma > 215) ? "warn" : "");
  number("broker", t(mqtt.connected ? "connected" : "disconnected"), mqtt.connected ? "good" : "bad");
  number("outbox", String(mqtt.outbox_depth), mqtt.outbox_depth ? "warn" : "");
  number("uptime", duration(status.uptime_s));
  number("made", String(counters.calls));
  number("saved", String(counters.calls_saved), "good");
  number("sent", bytes(counters.bytes_sent));
  showFrames(counters.frames);
  showLast(status.last);
  showResults(counters.results);
  showPreview(status.page);
}

function showState() {
  const isAway = !$("away").hidden, isOnline = status.status === "online";
  const isBad = isAway || status.conditions.some((each) => each.severity === "error");
  const key = isAway ? "state_no_answer" : isOnline ? "state_online" : "state_other";
  put("state", t(key, { status: status.status.toUpperCase() }), `pill ${isBad ? "bad" : isOnline ? "good" : "warn"}`);
  $("serving").hidden = isAway || !status.serving;
  $("watched").hidden = isAway || !status.page.viewers;
  document.body.className = isAway ? "old" : "";
}

function showPreview(page) {
  // The agent has ended the preview: after ten minutes, or because another tab logged out.
  if (isOpen && !page.viewers && statusAt - openedAt > EVERY_MS) { close(); return; }
  $("look").disabled = !page.preview && !isOpen;
  put("look", t(isOpen ? "preview_close" : "preview_open"));
  if (!isOpen && $("closed")) put("closed", t(page.preview ? "preview_closed" : "preview_off"));
}

async function poll() {
  try {
    texts ??= await loadTexts();
    status = await fetched("/status.json");
    statusAt = performance.now();
    $("away").hidden = true;
  } catch {
    showAway();
  }
  show();
}

function showAway() {
  $("away").hidden = false;
  if (isOpen) close();  // the last picture of a person must not stay on the screen
  put("since", status ? t("status_age", { duration: duration(Math.round((performance.now() - statusAt) / 1000)) }) : "");
}

async function open() {
  try {
    const refusal = await refused();
    if (refusal) { showClosed(refusal); return; }
  } catch { return; }
  const picture = make("img");
  picture.alt = t("preview_picture");
  picture.src = "/preview.mjpg";
  picture.onerror = close;
  picture.onclick = () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen?.());
  const caption = make("p");
  caption.id = "caption";
  $("stage").replaceChildren(picture, caption);
  isOpen = true;
  openedAt = performance.now();
  show();
  pollSeen(++previews);
}

// The texts of the picture are elements of the page: in the reader's language, and of a size for the screen.
async function pollSeen(number) {
  while (isOpen && number === previews) {
    try { seen = await fetched("/preview.json"); } catch { seen = null; }
    showSeen();
    await new Promise((done) => setTimeout(done, SEEN_EVERY_MS));
  }
}

function showSeen() {
  const facts = isOpen ? seen?.facts : null, measures = facts?.measures ?? [];
  $("quality").hidden = !measures.length;
  redraw("measures", measures, () => measures.flatMap(measure));
  if (!$("caption")) return;
  const guidance = facts?.guidance ? ` → ${named("guidance", facts.guidance)}` : "";
  const pause = seen?.paused === "camera_in_use_by_verification" ? "preview_paused" : "preview_no_picture";
  const text = facts ? named("frame", facts.reason) + guidance : seen?.paused ? t(pause, { code: seen.paused }) : "";
  put("caption", text, facts && ["shot", "followed"].includes(facts.reason) ? "good" : "");
}

function measure(each) {
  const track = make("i"), bar = make("i", undefined, each.is_good ? "good" : each.name === "score" ? "warn" : "bad");
  const limit = make("u");
  bar.style.width = `${Math.min(100, Math.max(0, each.value))}%`;
  limit.style.left = `${each.limit}%`;
  track.append(bar, limit);
  return [make("span", named("measure", each.name)), track, make("b", String(each.value))];
}

// An <img> reports no reason for an error. So HEAD returns the status first, without opening the preview.
async function refused() {
  const answer = await fetch("/preview.mjpg", { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (answer.ok) return "";
  return t(answer.status === 503 ? "preview_busy" : "preview_unavailable");
}

function close() {
  const picture = $("stage").querySelector("img");
  if (picture) { picture.onerror = null; picture.removeAttribute("src"); }
  isOpen = false;
  if (document.fullscreenElement) document.exitFullscreen();
  showClosed("");
  showSeen();
  show();
}

function showClosed(text) {
  const closed = make("p", text);
  closed.id = text ? "refused" : "closed";
  $("stage").replaceChildren(closed);
}

function showDoctor() {
  if (!report || !texts) return;
  $("examine").disabled = report.running;
  put("examine", t(report.running ? "doctor_running" : "doctor_run"));
  if (!report.rows) return;
  const of = (verdict) => report.rows.filter((row) => row.verdict === verdict);
  put("summary", Object.keys(VERDICTS).map((verdict) => `${t(`verdict_${verdict}`)}: ${of(verdict).length}`).join(" · "));
  // The agent sorts the rows: agent/diagnostics/order.py.
  redraw("findings", report.rows, () => [...new Set(report.rows.map((row) => row.verdict))].map((verdict) => {
    const rows = of(verdict);
    const box = make("details"), heading = make("summary"), [sign, name] = VERDICTS[verdict];
    box.open = ["fail", "warn"].includes(verdict);
    heading.append(make("b", sign, name), ` ${t(`verdict_${verdict}`)} (${rows.length})`);
    box.append(heading, ...consequences(rows), ...rows.filter((row) => !row.because).map(finding));
    return box;
  }));
}

// One line for all checks that were skipped because of one failure.
function consequences(rows) {
  const causes = [...new Set(rows.map((row) => row.because))].filter(Boolean);
  return causes.map((cause) => {
    const ids = rows.filter((row) => row.because === cause).map((row) => row.id);
    if (ids.length === 1) return finding(rows.find((row) => row.because === cause));
    return make("p", t("checks_skipped", { count: ids.length, cause, ids: ids.join(", ") }), "finding quiet");
  });
}

function finding(row) {
  const box = make("div", undefined, `finding is-${row.verdict}`), head = make("p", local(row, "title") + " ");
  const fix = local(row, "fix");
  head.append(documented(row, row.id));
  box.append(head, make("p", local(row, "why"), "quiet"));
  if (fix) box.append(make("p", t("fix", { fix }), "fix"), documentation(row));
  return box;
}

async function examine() {
  try {
    report = await fetched("/doctor.json", { method: "POST", headers: { "X-Facepay": "1" } });
    showDoctor();
    while (report.running) {
      await new Promise((done) => setTimeout(done, DOCTOR_EVERY_MS));
      report = await fetched("/doctor.json");
      showDoctor();
    }
  } catch {
    showAway();
    show();
  }
}

// The texts, with the language of the last visit, else of the browser, else English.
async function loadTexts() {
  texts = await fetched("/texts.json");
  let wanted = navigator.language;
  try { wanted = localStorage.getItem("language") || wanted; } catch { /* private window */ }
  const language = (tag) => tag.split("-")[0];
  setLocale(Math.max(0, texts.locales.findIndex((each) => language(each) === language(wanted))));
  return texts;
}

function setLocale(chosen) {
  const count = texts.locales.length, next = (chosen + 1) % count;
  locale = chosen;
  document.documentElement.lang = texts.locales[chosen];
  document.querySelectorAll("[data-text]").forEach((each) => { each.textContent = t(each.dataset.text); });
  document.querySelectorAll("[data-label]").forEach((each) => { each.ariaLabel = t(each.dataset.label); });
  $("language").textContent = texts.page.language[next];
  $("language").lang = texts.locales[next];
  $("language").onclick = () => {
    setLocale(next);
    try { localStorage.setItem("language", texts.locales[next]); } catch { /* private window */ }
  };
  show();
  showDoctor();
  showSeen();
}

async function begin() {
  $("look").onclick = () => (isOpen ? close() : open());
  $("examine").onclick = examine;
  // a hidden page must not keep the preview open
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else poll(); });
  await poll();
  try { report = await fetched("/doctor.json"); showDoctor(); } catch { /* shown by the next poll */ }
  setInterval(() => { if (!document.hidden) poll(); }, EVERY_MS);
}

begin();
