// Shows /status.json every two seconds while the page is looked at. No library, no storage but the language.
"use strict";

const EVERY_MS = 2000, PATIENCE_MS = 5000, DOCTOR_EVERY_MS = 1000;
const PHASES = ["wait_face", "hold", "encode", "sign", "connect", "api", "other"];
// verdict: sign, colour, heading; in the order in which a person wants them
const VERDICTS = {
  fail: ["✗", "bad", "To mend", "需要处理"],
  warn: ["!", "warn", "Worth a look", "需要关注"],
  skip: ["–", "", "Not checked", "未检查"],
  pass: ["✓", "good", "Well", "正常"],
};
const $ = (id) => document.getElementById(id);
let words = { frame: {}, phase: {}, decision: {}, reason: {}, refusal: {} };
let told = null, toldAt = 0, found = null, isOpen = false, openedAt = 0;
const drawn = {};

function zh() { return document.documentElement.lang === "zh" ? 1 : 0; }
function say(kind, word) { return (words[kind][word] || [word, word])[zh()]; }
function both(english, chinese) { return [english, chinese][zh()]; }

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

async function fetched(path, options) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function long(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days) return both(`${days} d ${hours} h`, `${days} 天 ${hours} 时`);
  if (hours) return both(`${hours} h ${minutes} min`, `${hours} 时 ${minutes} 分`);
  if (minutes >= 10) return both(`${minutes} min`, `${minutes} 分`);
  if (minutes) return both(`${minutes} min ${seconds % 60} s`, `${minutes} 分 ${seconds % 60} 秒`);
  return both(`${seconds} s`, `${seconds} 秒`);
}

function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1024)} kB` : `${(count / 1048576).toFixed(1)} MB`;
}

// Only what changed is touched: a screen reader speaks what changes, and a selection survives a poll.
function put(id, text, name) {
  if ($(id).textContent !== text) $(id).textContent = text;
  if (name !== undefined && $(id).className !== name) $(id).className = name;
}

function number(id, text, name) { put(id, text, name || ""); }

function redraw(id, facts, build) {
  const key = JSON.stringify([zh(), facts]);
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
  const codes = [list.map((each) => [each.code, each.detail]), others];
  redraw("conditions", codes, () => {
    if (!list.length) return [make("p", both("Nothing to mend.", "一切正常。"), "calm")];
    const names = others.map((each) => both(`${each.code} (because ${each.because})`, `${each.code}（因 ${each.because}）`));
    return [...list.map(condition),
      ...(names.length ? [make("p", both("Goes with it: ", "连带：") + names.join(", "), "quiet")] : [])];
  });
  list.forEach((each) => put(`lasted-${each.code}`, both(`for ${long(each.lasted_s)}`, `已持续 ${long(each.lasted_s)}`)));
}

function condition(each) {
  const box = make("div", undefined, `condition ${each.severity}`), lasted = make("p", undefined, "quiet");
  const kind = each.severity === "error" ? both("Error", "错误") : both("Warning", "警告");
  const head = make("h2", both(each.title, each.title_zh));
  head.prepend(make("span", kind, "kind"));
  lasted.id = `lasted-${each.code}`;
  lasted.setAttribute("aria-live", "off");
  box.append(head, make("p", both("Fix: ", "处理：") + both(each.fix, each.fix_zh)), lasted, make("code", each.code));
  if (each.detail) lasted.before(make("p", both("Reported: ", "报告内容：") + each.detail));
  return box;
}

function showFrames(frames) {
  const sum = (...names) => names.reduce((total, name) => total + (frames[name] || 0), 0);
  const all = sum(...Object.keys(frames)), looked = all - sum("idle");
  const withFace = looked - sum("no_presence", "no_face"), usable = sum("shot", "followed");
  const line = both(`${all} seen, ${sum("idle")} while nobody asked`, `共 ${all} 帧，其中空闲 ${sum("idle")} 帧`);
  bars("steps", [
    [both("looked at", "已检查"), looked],
    [both("with a face", "有人脸"), withFace],
    [both("good enough", "合格"), usable, "good"],
    [both("paid for", "已付费"), told.counters.calls, "good"],
  ], "", line);
  bars("reasons", Object.entries(frames).filter(([name]) => name !== "idle").sort((a, b) => b[1] - a[1])
    .map(([name, count]) => [say("frame", name), count, ["shot", "followed"].includes(name) ? "good" : ""]),
  both("None: a face is looked for only while a till asks.", "暂无：仅在收银机发起验证时才查找人脸。"));
}

function showLast(list) {
  redraw("rows", list, () => {
    const most = Math.max(1, ...list.map((each) => each.timings_ms.total));
    return list.length ? list.map((each) => verification(each, most)) : [make("p", both(
      "None since the agent started. A till asks for one; without a till: facepay till ask",
      "服务启动后尚无验证。由收银机发起；没有收银机时可用 facepay till ask"), "quiet")];
  });
}

function verification(each, most) {
  const colour = { match: "good", no_match: "bad", undecided: "warn" };
  const row = make("div", undefined, "run"), head = make("h3"), fall = make("div", undefined, "fall");
  const parts = make("p", undefined, "parts"), times = each.timings_ms;
  head.append(make("span", say("decision", each.decision), colour[each.decision]), make("span", `${times.total} ms`));
  const known = PHASES.reduce((total, name) => total + (times[name] || 0), 0);
  const spent = { ...times, other: Math.max(0, times.total - known) };
  PHASES.forEach((name, place) => {
    if (!spent[name]) return;
    const piece = make("i", undefined, `p${place}`), part = make("span");
    piece.style.width = `${(100 * spent[name]) / most}%`;
    fall.append(piece);
    part.append(make("i", undefined, `p${place}`), `${say("phase", name)} ${spent[name]} ms`);
    parts.append(part);
  });
  const code = each.api_code ? `, API ${each.api_code}` : "";
  const asked = both(`${each.asks} API call${each.asks === 1 ? "" : "s"}${code}`, `调用 ${each.asks} 次${code}`);
  row.append(head, fall, parts, make("p", both(`${say("reason", each.reason)} (${asked})`, `${say("reason", each.reason)}（${asked}）`), "why"));
  return row;
}

function showResults(results) {
  const colour = (name) => ({ match: "good", no_match: "bad" })[name.split("/")[0]] || "warn";
  bars("results", Object.entries(results).sort((a, b) => b[1] - a[1]).map(([name, count]) => {
    const [decision, reason] = name.split("/");
    return [decision === "undecided" ? `${say("decision", decision)}: ${reason}` : say("decision", decision),
      count, colour(name)];
  }), both("None yet.", "暂无。"));
}

function show() {
  if (!told) return;
  const { camera, mqtt, counters } = told;
  document.title = `${told.terminal} · facepay`;
  put("who", `${told.site} / ${told.terminal}`);
  put("version", `${told.version} · ${told.profile} · ${camera.kind}`);
  showState();
  showConditions(told.conditions, told.consequences);
  const age = camera.frame_age_ms, luma = camera.mean_luma;
  number("fps", camera.fps.toFixed(1), camera.fps > 0 ? "" : "bad");
  number("age", age === null ? "–" : age < 10000 ? `${age} ms` : long(Math.round(age / 1000)), age > 2000 ? "bad" : "");
  number("luma", luma === null ? "–" : String(luma), luma !== null && (luma < 40 || luma > 215) ? "warn" : "");
  number("broker", mqtt.connected ? both("up", "已连接") : both("down", "断开"), mqtt.connected ? "good" : "bad");
  number("outbox", String(mqtt.outbox_depth), mqtt.outbox_depth ? "warn" : "");
  number("uptime", long(told.uptime_s));
  number("made", String(counters.calls));
  number("saved", String(counters.calls_saved), "good");
  number("sent", bytes(counters.bytes_sent));
  showFrames(counters.frames);
  showLast(told.last);
  showResults(counters.results);
  showPage(told.page);
}

function showState() {
  const isAway = !$("away").hidden, isBad = told.conditions.some((each) => each.severity === "error");
  const text = isAway ? both("NO ANSWER", "无响应") : both(told.status.toUpperCase(), told.status === "online" ? "正常" : "异常");
  put("state", text, `pill ${isAway || isBad ? "bad" : told.status === "online" ? "good" : "warn"}`);
  $("serving").hidden = isAway || !told.serving;
  $("watched").hidden = isAway || !told.page.viewers;
  document.body.className = isAway ? "old" : "";
}

function showPage(page) {
  // ended by the agent: ten minutes are over, or somebody logged out elsewhere
  if (isOpen && !page.viewers && toldAt - openedAt > EVERY_MS) { close(); return; }
  $("look").disabled = !page.preview && !isOpen;
  put("look", isOpen ? both("Close live preview", "关闭实时预览") : both("Open live preview", "打开实时预览"));
  if (!isOpen && $("closed")) put("closed", page.preview ? both("Closed. Nobody is looked at.", "已关闭，未查看任何人。")
    : both("Switched off: preview under [page] in the config.", "未启用：配置 [page] preview。"));
}

async function poll() {
  try {
    told = await fetched("/status.json");
    toldAt = performance.now();
    $("away").hidden = true;
  } catch {
    isAway();
  }
  show();
}

function isAway() {
  $("away").hidden = false;
  if (isOpen) close();  // the last picture of somebody must not stand there
  const since = told ? long(Math.round((performance.now() - toldAt) / 1000)) : "";
  put("since", since && both(` · What stands here is ${since} old.`, ` · 页面内容为 ${since}前的状态。`));
}

async function open() {
  try {
    const refusal = await refused();
    if (refusal) { sayClosed(refusal); return; }
  } catch { return; }
  const picture = make("img");
  picture.alt = both("live picture with boxes", "带标注的实时画面");
  picture.src = "/preview.mjpg";
  picture.onerror = close;
  picture.onclick = () => (document.fullscreenElement ? document.exitFullscreen() : picture.requestFullscreen?.());
  $("stage").replaceChildren(picture);
  isOpen = true;
  openedAt = performance.now();
  show();
}

// A picture element cannot say why there is none: asked beforehand, without opening anything.
async function refused() {
  const answer = await fetch("/preview.mjpg", { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.ok) return "";
  return answer.status === 503 ? both("Others have the preview open. Close one of their tabs.", "预览已被占用，请先关闭其他标签页。")
    : both("The preview is not available.", "预览不可用。");
}

function close() {
  const picture = $("stage").querySelector("img");
  if (picture) { picture.onerror = null; picture.removeAttribute("src"); }
  isOpen = false;
  sayClosed("");
  show();
}

function sayClosed(text) {
  const closed = make("p", text);
  closed.id = text ? "refused" : "closed";
  $("stage").replaceChildren(closed);
}

function showDoctor() {
  if (!found) return;
  $("examine").disabled = found.running;
  put("examine", found.running ? both("Examining…", "正在诊断…") : both("Examine this terminal", "开始诊断"));
  if (!found.rows) return;
  const groups = Object.keys(VERDICTS).map((verdict) => [verdict, found.rows.filter((row) => row.verdict === verdict)]);
  put("summary", groups.map(([verdict, rows]) => `${both(VERDICTS[verdict][2], VERDICTS[verdict][3])}: ${rows.length}`).join(" · "));
  redraw("findings", found.rows, () => groups.filter(([, rows]) => rows.length).map(([verdict, rows]) => {
    const box = make("details"), heading = make("summary"), [sign, name, english, chinese] = VERDICTS[verdict];
    box.open = verdict !== "pass";
    heading.append(make("b", sign, name), ` ${both(english, chinese)} (${rows.length})`);
    box.append(heading, ...rows.map(finding));
    return box;
  }));
}

function finding(row) {
  const box = make("div", undefined, `finding is-${row.verdict}`), head = make("p", both(row.title, row.title_zh) + " ");
  const fix = both(row.fix, row.fix_zh || row.fix);
  head.append(make("code", row.id));
  box.append(head, make("p", row.why, "quiet"));
  if (fix) box.append(make("p", both("Fix: ", "处理：") + fix, "fix"));
  return box;
}

async function examine() {
  try {
    found = await fetched("/doctor.json", { method: "POST", headers: { "X-Facepay": "1" } });
    showDoctor();
    while (found.running) {
      await new Promise((done) => setTimeout(done, DOCTOR_EVERY_MS));
      found = await fetched("/doctor.json");
      showDoctor();
    }
  } catch {
    isAway();
    show();
  }
}

function speak(language) {
  document.documentElement.lang = language;
  $("language").textContent = language === "zh" ? "English" : "中文";
  try { localStorage.setItem("language", language); } catch { /* private window */ }
  show();
  showDoctor();
}

async function begin() {
  let language = navigator.language.startsWith("zh") ? "zh" : "en";
  try { language = localStorage.getItem("language") || language; } catch { /* private window */ }
  $("language").onclick = () => speak(zh() ? "en" : "zh");
  $("look").onclick = () => (isOpen ? close() : open());
  $("examine").onclick = examine;
  // who does not look at the page must not keep the camera watched
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else poll(); });
  try { words = await fetched("/words.json"); } catch { isAway(); }
  speak(language);
  await poll();
  try { found = await fetched("/doctor.json"); showDoctor(); } catch { /* shown by the next poll */ }
  setInterval(() => { if (!document.hidden) poll(); }, EVERY_MS);
}

begin();
