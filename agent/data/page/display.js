// Shows the messages of /stream: a screen as JSON, and its picture. No library; stores nothing.
// Without messages for SILENT_MS the picture is removed: a stopped agent leaves no face on the screen.
"use strict";

const SILENT_MS = 1500, AGAIN_MS = 1000, BUSY_AGAIN_MS = 5000, HEAD_BYTES = 8, MESSAGE_MAX_BYTES = 2e6;
const WAYS = { move_left: "left", turn_left: "left", move_right: "right", turn_right: "right" };
const CUES = { guide: [[660, 0.12]], turn: [[880, 0.15]], recognised: [[660, 0.12], [990, 0.2]],
  not_this_time: [[440, 0.25]], another_way: [[440, 0.2], [330, 0.25]] };
const $ = (id) => document.getElementById(id);
const canvas = $("picture").getContext("2d");
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
let idle = null, shown = {}, endsAt = 0, heardAt = performance.now(), newest = 0, audio = null;

function clear() {
  newest += 1; // a picture that is still being decoded is dropped
  canvas.clearRect(0, 0, canvas.canvas.width, canvas.canvas.height);
}

// Changes only what differs: a screen reader reads each change aloud.
function show(screen) {
  const main = $("screen");
  if (screen.kind === "idle") idle = screen;
  if (screen.kind !== "guide" || screen.verification !== shown.verification) clear();
  if (screen.kind === "guide") endsAt = performance.now() + screen.left_ms;
  if (["kind", "symbol", "words", "title", "verification"].every((key) => screen[key] === shown[key])) return;
  const known = document.querySelector(`symbol[id="${CSS.escape(screen.symbol || "other")}"]`);
  document.documentElement.lang = screen.locale;
  main.dataset.kind = screen.kind;
  main.dataset.symbol = screen.symbol || "";
  main.dataset.way = WAYS[screen.symbol] || "";
  $("title").textContent = screen.title || "";
  [$("words").textContent, $("more").textContent] = [...(screen.words || "").split("\n"), ""];
  $("use").setAttribute("href", known ? `#${known.id}` : "#other");
  if (screen.sound) play(cueOf(screen));
  shown = screen;
}

function cueOf(screen) {
  if (screen.kind === "end") return CUES[screen.symbol];
  if (screen.kind !== "guide") return undefined;
  if (screen.verification !== shown.verification) return CUES.guide;
  return (screen.symbol || "").startsWith("turn_") ? CUES.turn : undefined;
}

function play(cue) {
  if (!cue) return;
  audio = audio || new AudioContext();
  let at = audio.currentTime;
  for (const [hertz, seconds] of cue) {
    const tone = audio.createOscillator(), volume = audio.createGain();
    tone.frequency.value = hertz;
    volume.gain.setValueAtTime(0.2, at);
    volume.gain.linearRampToValueAtTime(0, at + seconds);
    tone.connect(volume).connect(audio.destination);
    tone.start(at);
    tone.stop(at += seconds);
  }
}

async function draw(jpeg) {
  const mine = ++newest, picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  if (mine === newest && shown.kind === "guide") canvas.drawImage(picture, 0, 0);
  picture.close();
}

function received(message, texts) {
  heardAt = performance.now();
  const screen = JSON.parse(texts);
  show(screen);
  if (message.length && screen.kind === "guide") draw(message).catch(() => {});
  return screen.kind === "busy";
}

// Reads one connection to its end. Returns the pause before the next one, in ms.
async function follow() {
  const headers = { Authorization: `Bearer ${location.hash.slice(1)}` };
  const answer = await fetch("/stream", { cache: "no-store", headers, signal: aborted() });
  if (!answer.ok) {
    show({ kind: "busy", words: await answer.text(), locale: "en" });
    return BUSY_AGAIN_MS;
  }
  const reader = answer.body.getReader(), decoder = new TextDecoder();
  let rest = new Uint8Array(0), isBusy = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return isBusy ? BUSY_AGAIN_MS : AGAIN_MS;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
    while (rest.length >= HEAD_BYTES) {
      const head = new DataView(rest.buffer, rest.byteOffset), text = HEAD_BYTES + head.getUint32(0);
      const end = text + head.getUint32(4);
      if (end > MESSAGE_MAX_BYTES) throw new Error("message too long");
      if (rest.length < end) break;
      isBusy = received(rest.slice(text, end), decoder.decode(rest.subarray(HEAD_BYTES, text)));
      rest = rest.subarray(end);
    }
  }
}

let silence = null; // ends a connection without messages
function aborted() {
  silence = new AbortController();
  heardAt = performance.now();
  return silence.signal;
}

function blankWhenSilent() {
  if (performance.now() - heardAt < SILENT_MS || shown.kind === "busy") return;
  silence?.abort();
  if (shown.kind !== "idle") show(idle || { kind: "idle" });
}

function turnRing() {
  if (shown.kind !== "guide") return;
  const left_ms = Math.max(0, endsAt - performance.now()), step_ms = isCalm.matches ? 1000 : 1;
  const share = Math.ceil(left_ms / step_ms) * step_ms / shown.total_ms;
  $("left").style.strokeDashoffset = String(100 * (1 - Math.min(1, share)));
}

async function run() {
  for (;;) {
    const pause_ms = await follow().catch(() => AGAIN_MS);
    blankWhenSilent();
    await new Promise((resume) => { setTimeout(resume, pause_ms); });
  }
}

setInterval(blankWhenSilent, 250);
setInterval(turnRing, 100);
run();
