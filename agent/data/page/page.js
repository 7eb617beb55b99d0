// Shows /status.json every two seconds while the page is looked at. No library, no storage but the language.
"use strict";

const EVERY_MS = 2000, PATIENCE_MS = 5000, DOCTOR_EVERY_MS = 1000;
const PHASES = ["wait_face", "hold", "encode", "sign", "connect", "api", "other"];
const MARKS = { pass: ["✓", "good"], warn: ["!", "warn"], fail: ["✗", "bad"], skip: ["–", ""] };
const $ = (id) => document.getElementById(id);
let words = { frame: {}, phase: {}, decision: {}, reason: {}, refusal: {} };
let told = null, found = null, isOpen = false;

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
  return both(`${minutes} min ${seconds % 60} s`, `${minutes} 分 ${seconds % 60} 秒`);
}

function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1024)} kB` : `${(count / 1048576).toFixed(1)} MB`;
}

function number(id, text, name) { $(id).textContent = text; $(id).className = name || ""; }

function bars(id, rows) {
  const most = Math.max(1, ...rows.map((row) => row[1]));
  $(id).replaceChildren(...rows.flatMap(([text, count, name]) => {
    const track = make("i"), bar = make("i", undefined, name);
    bar.style.width = `${(100 * count) / most}%`;
    if (count) track.append(bar);
    return [make("span", text), track, make("output", String(count))];
  }));
  if (!rows.length) $(id).replaceChildren(make("span", both("none yet", "暂无"), "quiet"));
}

function showConditions(list, others) {
  if (!list.length) {
    $("conditions").replaceChildren(make("p", both("Nothing to mend.", "一切正常。"), "calm"));
    return;
  }
  $("conditions").replaceChildren(...list.map((each) => {
    const box = make("div", undefined, `condition ${each.severity}`);
    box.append(make("b", both(each.title, each.title_zh)), make("code", each.code),
      make("p", both(each.fix, each.fix_zh)),
      make("p", both(`for ${long(each.lasted_s)}`, `已持续 ${long(each.lasted_s)}`), "quiet"));
    return box;
  }));
  if (others.length) {
    const names = others.map((each) => both(`${each.code} (because ${each.because})`, `${each.code}（因 ${each.because}）`));
    $("conditions").append(make("p", both("Goes with it: ", "连带：") + names.join(", "), "quiet"));
  }
}

function showFrames(frames) {
  const sum = (...names) => names.reduce((total, name) => total + (frames[name] || 0), 0);
  const all = sum(...Object.keys(frames)), looked = all - sum("idle");
  const withFace = looked - sum("no_presence", "no_face"), usable = sum("shot", "followed");
  bars("steps", [
    [both("looked at", "已检查"), looked],
    [both("with a face", "有人脸"), withFace],
    [both("good enough", "合格"), usable, "good"],
    [both("paid for", "已付费"), told.counters.calls, "good"],
  ]);
  const line = both(`${all} seen, ${sum("idle")} while nobody asked`, `共 ${all} 帧，其中空闲 ${sum("idle")} 帧`);
  $("steps").prepend(spanning(line));
  bars("reasons", Object.entries(frames).filter(([name]) => name !== "idle").sort((a, b) => b[1] - a[1])
    .map(([name, count]) => [say("frame", name), count, ["shot", "followed"].includes(name) ? "good" : ""]));
}

function spanning(text) {
  const line = make("span", text, "quiet");
  line.style.gridColumn = "1 / -1";
  return line;
}

function showLast(list) {
  const most = Math.max(1, ...list.map((each) => each.timings_ms.total));
  const colour = { match: "good", no_match: "bad", undecided: "warn" };
  $("rows").replaceChildren(...list.map((each) => {
    const row = make("div", undefined, "run"), head = make("header"), fall = make("div", undefined, "fall");
    head.append(make("b", say("decision", each.decision), colour[each.decision]),
      make("output", `${each.timings_ms.total} ms`));
    const known = PHASES.reduce((total, name) => total + (each.timings_ms[name] || 0), 0);
    const parts = { ...each.timings_ms, other: Math.max(0, each.timings_ms.total - known) };
    PHASES.forEach((name, place) => {
      if (!parts[name]) return;
      const piece = make("i", undefined, `p${place}`);
      piece.style.width = `${(100 * parts[name]) / most}%`;
      piece.title = `${say("phase", name)}: ${parts[name]} ms`;
      fall.append(piece);
    });
    const code = each.api_code ? `, API ${each.api_code}` : "";
    const asked = both(`${each.asks} asked${code}`, `调用 ${each.asks} 次${code}`);
    row.append(head, fall, make("p", `${say("reason", each.reason)} (${asked})`, "why"));
    return row;
  }));
  if (!list.length) $("rows").replaceChildren(make("p", both("none yet", "暂无"), "quiet"));
  $("legend").replaceChildren(...PHASES.map((name, place) => {
    const item = make("span");
    item.append(make("i", undefined, `p${place}`), say("phase", name));
    return item;
  }));
  $("legend").hidden = !list.length;
}

function showResults(results) {
  const colour = (name) => ({ match: "good", no_match: "bad" })[name.split("/")[0]] || "warn";
  bars("results", Object.entries(results).sort((a, b) => b[1] - a[1]).map(([name, count]) => {
    const [decision, reason] = name.split("/");
    return [decision === "undecided" ? `${say("decision", decision)}: ${reason}` : say("decision", decision),
      count, colour(name)];
  }));
}

function show() {
  if (!told) return;
  const { camera, mqtt, counters } = told, isBad = told.conditions.some((each) => each.severity === "error");
  document.title = `${told.terminal} · facepay`;
  $("who").textContent = `${told.site} / ${told.terminal}`;
  $("version").textContent = `${told.version} · ${told.profile} · ${camera.kind}`;
  $("state").textContent = both(told.status.toUpperCase(), told.status === "online" ? "正常" : "异常");
  $("state").className = `pill ${told.status === "online" ? "good" : isBad ? "bad" : "warn"}`;
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

function showPage(page) {
  $("logout").hidden = !page.login;
  $("look").disabled = !page.preview && !isOpen;
  $("look").replaceChildren(isOpen ? both("Close live preview", "关闭实时预览")
    : page.preview ? both("Open live preview", "打开实时预览")
      : both("Preview is off (page.preview in the config)", "预览未启用（配置项 page.preview）"));
}

async function poll() {
  try {
    told = await fetched("/status.json");
    $("away").hidden = true;
    show();
  } catch {
    $("away").hidden = false;
  }
}

async function open() {
  try {
    const refusal = await refused();
    if (refusal) { $("stage").replaceChildren(make("p", refusal)); return; }
  } catch { return; }
  const picture = make("img");
  picture.alt = both("live picture with boxes", "带标注的实时画面");
  picture.src = "/preview.mjpg";
  picture.onerror = close;
  $("stage").replaceChildren(picture);
  isOpen = true;
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
  $("stage").replaceChildren(make("p", both("Closed. Nobody is looked at.", "已关闭，未查看任何人。")));
  isOpen = false;
  show();
}

function showDoctor() {
  if (!found) return;
  $("examine").disabled = found.running;
  $("examine").textContent = found.running ? both("Examining…", "正在诊断…") : both("Examine this terminal", "开始诊断");
  if (!found.rows) return;
  const order = ["fail", "warn", "pass", "skip"];
  const rows = [...found.rows].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict));
  $("findings").replaceChildren(...rows.map((row) => {
    const [mark, name] = MARKS[row.verdict], box = make("div", undefined, `finding is-${row.verdict}`), text = make("div");
    const head = make("p", both(row.title, row.title_zh) + " ");
    head.append(make("code", row.id));
    text.append(head, make("p", row.why, row.verdict === "pass" || row.verdict === "skip" ? "quiet" : ""));
    const fix = both(row.fix, row.fix_zh || row.fix);
    if (fix) text.append(make("p", both("Fix: ", "处理：") + fix, "fix"));
    box.append(make("b", mark, name), text);
    return box;
  }));
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
    $("away").hidden = false;
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
  try { words = await fetched("/words.json"); } catch { $("away").hidden = false; }
  speak(language);
  await poll();
  try { found = await fetched("/doctor.json"); showDoctor(); } catch { /* shown by the next poll */ }
  setInterval(() => { if (!document.hidden) poll(); }, EVERY_MS);
}

begin();
