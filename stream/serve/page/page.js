// The page of `affectstream serve`: sends a camera, a microphone or a file to its server, and shows the
// results. Nothing is fetched from anywhere else. docs/guides/serve.md lists the messages.
// This file holds the state, the controls and the messages; connect.js sends media, draw.js draws, and keep.js
// keeps the results when the page is reloaded.
"use strict";

const HISTORY_S = 120;
const SILENT_MS = 3000, GONE_MS = 10000; // the server sends something every second
const MAX_EVENTS = 200000; // kept for download: a day of one person

let about = null; // what the server says about itself
let session = null; // the running session: {stream, way, send, end, close, timer}
let run = 0; // counts starts: messages of an earlier session are ignored
let events = []; // as they came, for download
let people = new Map(); // person, or "all" for track null -> {t, points: [{t, scores, attention}], emotion, attention}
let personOf = new Map(); // track -> the person's first track, if they were away and got a new number
let newestS = 0; // stream time of the newest result
let faces = null; // the newest message of this type, with the time when it came
let latest = {}; // the newest state, age and round trip
let lastMessageMs = 0;
let sessionId = "";
let endReason = ""; // why the server ended the session early
let chosenPerson = null; // null follows the first

// --- Requests to the server ---

const SERVER_GONE = "The server does not answer. Is it still running?";

function token() {
  return new URLSearchParams(location.hash.slice(1)).get("token");
}

function request(path, options = {}) {
  const headers = { ...(token() ? { authorization: `Bearer ${token()}` } : {}), ...options.headers };
  return fetch(path, { ...options, headers }).catch(() => {
    throw new Error(SERVER_GONE);
  });
}

async function loadAbout() {
  const answer = await request("about").catch(() => null);
  if (answer && answer.status === 401) return askToken();
  if (!answer || !answer.ok) return showProblem(SERVER_GONE);
  about = await answer.json();
  $("gate").hidden = true;
  showRecording(about.recording);
  drawNames();
  listDevices();
  return undefined;
}

function askToken() {
  $("gate").hidden = false;
  $("token").focus();
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  // The part behind # stays in the browser: it is in no log.
  location.hash = `token=${encodeURIComponent($("token").value)}`;
  loadAbout();
});

// --- Texts of the page ---

function showProblem(text) {
  $("problem").textContent = text || "";
  $("problem").hidden = !text;
}

// A warning of the server; the session goes on.
function showNote(text) {
  $("note").textContent = text || "";
  $("note").hidden = !text;
}

function showStatus(text, live) {
  $("status").textContent = text;
  $("status").classList.toggle("live", Boolean(live));
}

function showRecording(recording) {
  $("recording").hidden = !recording;
  $("private").hidden = recording;
}

// --- Start and stop ---

function setControls(live) {
  document.body.classList.toggle("live", live);
  $("start").disabled = live;
  $("stop").disabled = !live;
  for (const id of ["camera", "microphone", "file"]) $(id).disabled = live;
}

async function start() {
  if (!about) await loadAbout();
  if (!about) return;
  $("start").disabled = true;
  showProblem("");
  showStatus("Opening the source …");
  let stream = null;
  run += 1;
  try {
    stream = await openSource();
    clearResults();
    showStream(stream, Boolean($("file").files[0]));
    listDevices(); // their names are known once the camera is allowed
    showStatus("Connecting …");
    const forced = new URLSearchParams(location.search).get("way");
    const link = (forced !== "websocket" && (await connectWebRtc(stream, run))) || (await connectWebSocket(stream, run));
    session = { stream, ...link };
    lastMessageMs = performance.now();
    session.timer = setInterval(() => checkServer(link), 1000);
    $("way").textContent = link.way;
    setControls(true);
    $("stop").focus(); // in the place of Start
    showStatus("Live", true);
  } catch (error) {
    if (stream) for (const track of stream.getTracks()) track.stop();
    clearVideo();
    setControls(false);
    showStatus("Not started");
    showProblem(SOURCE_PROBLEMS[error.name] || error.message);
  }
}

// Once a second. A server that was killed closes no connection, so its silence has to be noticed.
function checkServer(link) {
  link.send({ type: "ping", t: performance.now() });
  const silentMs = performance.now() - lastMessageMs;
  if (silentMs > GONE_MS) {
    stop("Stopped", SERVER_GONE);
    explainLoss();
  } else if (silentMs > SILENT_MS) showStatus("No answer from the server …");
  else showStatus("Live", true);
}

// One of several server processes may have died: the others answer, and know that this session is lost (410).
async function explainLoss() {
  const answer = await request(`sessions/${sessionId}`, { method: "DELETE" }).catch(() => null);
  if (answer && answer.status === 410 && !session) showProblem("The server lost this session. Press Start to go on in a new one.");
}

function stop(status, problem) {
  if (!session) return;
  const ending = session;
  session = null;
  clearInterval(ending.timer);
  ending.end();
  setTimeout(ending.close, 1500); // the last events may still come
  for (const track of ending.stream.getTracks()) track.stop();
  clearVideo();
  setControls(false);
  if (document.activeElement === document.body) $("start").focus();
  showStatus(status);
  showProblem(problem);
}

function clearVideo() {
  const video = $("video");
  video.onended = video.onerror = null;
  video.pause();
  video.srcObject = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
  faces = null;
  $("empty").hidden = false;
  $("empty").textContent = "Choose a source, then press Start";
}

function clearResults() {
  events = [];
  people = new Map();
  personOf = new Map();
  forgetEvents();
  newestS = 0;
  faces = null;
  latest = {};
  endReason = "";
  chosenPerson = null;
  $("words").hidden = true;
  showNote("");
  $("download").disabled = true;
  $("person").length = 0;
}

// --- Messages from the server ---

const HANDLERS = {
  session: (message) => {
    sessionId = message.session;
    showRecording(message.recording);
  },
  faces: (message) => {
    faces = { ...message, cameMs: performance.now() };
    for (const face of message.faces) if (face.person !== face.track) joinHistory(face.track, face.person);
  },
  words: (message) => {
    $("words").hidden = false;
    $("words").textContent = `${message.speaker ? `${message.speaker}: ` : ""}${message.text}`;
  },
  state: (message) => {
    latest.state = message;
    showRecording(message.recording);
  },
  pong: () => {}, // that it came is enough
  error: (message) => {
    endReason = message.error;
    showProblem(endReason);
  },
};

function receive(line) {
  lastMessageMs = performance.now();
  const message = JSON.parse(line);
  if (HANDLERS[message.type]) return HANDLERS[message.type](message);
  addEvent(line, message);
  keepEvents();
  if (message.type === "stream" && message.what === "warning") showNote(`Note: ${message.detail}`);
  if (message.type === "stream" && message.what === "ended" && !message.complete) endReason = endReason || message.detail;
  return undefined;
}

function addEvent(line, event) {
  if (events.length < MAX_EVENTS) events.push(line);
  $("download").disabled = false;
  if (event.type === "emotion" || event.type === "attention") addResult(event);
}

// A person who was away has a new number: their history goes on.
function joinHistory(track, person) {
  if (personOf.get(track) === person) return;
  personOf.set(track, person);
  const before = people.get(person), since = people.get(track);
  if (since) people.set(person, { ...before, ...since, points: [...(before ? before.points : []), ...since.points] });
  people.delete(track);
  if (chosenPerson === track) chosenPerson = person;
}

function addResult(event) {
  const key = event.track === null ? "all" : (personOf.get(event.track) ?? event.track);
  if (!people.has(key)) people.set(key, { points: [] });
  const person = people.get(key);
  person.t = newestS = Math.max(newestS, event.t_end);
  latest.ageMs = event.age_ms;
  // One point of the history per hop. A bundle may send only one of the two events.
  let point = person.points.at(-1);
  if (!point || point.t !== event.t_end) person.points.push(point = { t: event.t_end, scores: null, attention: null });
  if (event.type === "emotion") {
    person.emotion = event;
    point.scores = event.scores;
  } else {
    person.attention = event;
    point.attention = event.score;
  }
  while (person.points.length && person.points[0].t < newestS - HISTORY_S - 1) person.points.shift();
  for (const [number, one] of people) if (one.t < newestS - HISTORY_S) people.delete(number);
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([events.join("\n"), "\n"], { type: "application/x-ndjson" }));
  link.download = `affectstream-${new Date().toISOString().replace(/[:.]/g, "-")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

$("start").addEventListener("click", start);
$("stop").addEventListener("click", () => stop("Stopped"));
$("download").addEventListener("click", download);
window.addEventListener("pagehide", () => session && session.close());
window.addEventListener("DOMContentLoaded", () => {
  if (navigator.mediaDevices) navigator.mediaDevices.addEventListener("devicechange", listDevices);
  loadAbout();
  restoreEvents();
  requestAnimationFrame(draw);
});
