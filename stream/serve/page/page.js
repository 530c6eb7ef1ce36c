// The page of `affectstream serve`: sends a camera, a microphone or a file to the server that it came
// from, and shows what comes back. Nothing is fetched from anywhere else. docs/guides/serve.md lists messages.
"use strict";

const $ = (id) => document.getElementById(id);
const SPAN_S = 120; // what the history shows
const CONNECT_MS = 4000; // WebRTC that is not connected by then gives way to a WebSocket
const SILENT_MS = 3000, GONE_MS = 10000; // the server says something each second
const MAX_LINES = 200000; // events kept for download: a day of one person
// Okabe and Ito's colours, which colour-blind people can tell apart.
const COLOURS = { neutral: "#9aa3af", anger: "#d55e00", disgust: "#009e73", fear: "#cc79a7", joy: "#e6b800", sadness: "#3b82c4", surprise: "#7fc4ee", contempt: "#8a6d3b" };
const FAULTS = {
  no_face: "no face in view", tiny_face: "the face is too small", blurred_face: "the picture is blurred",
  turned_face: "the face is turned away", no_picture: "no picture", no_speech: "nobody speaks", no_words: "no words",
  language: "another language", low_confidence: "not sure",
};

let about = null; // what the server says of itself
let session = null; // what is running: {stream, way, say, end, close}
let run = 0; // counts starts: what an earlier session still sends is not shown
let record = []; // events as they came, for download
let people = new Map(); // track -> {t, points: [{t, scores, attention}], emotion, attention}
let newest = 0; // seconds of the stream
let faces = null; // the newest message of faces, and when it came
let known = {}; // newest figures
let told = 0; // when the server said something last
let why = ""; // what the server says is wrong, or ended the session before its time
let chosen = null; // the person shown; null follows the first

// --- Setting up ---

const query = () => {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  return token ? { headers: { authorization: `Bearer ${token}` }, suffix: `token=${encodeURIComponent(token)}` } : { headers: {}, suffix: "" };
};

const GONE = "The server does not answer. Is it still running?";
const CLOSED = { 1006: GONE, 1012: "The server was stopped." }; // how a WebSocket closes that says no more

const ask = (path, more = {}) => fetch(path, { ...more, headers: { ...more.headers, ...query().headers } }).catch(() => {
  throw new Error(GONE);
});

async function open() {
  const answer = await ask("about").catch(() => null);
  if (answer && answer.status === 401) return gate();
  if (!answer || !answer.ok) return problem(GONE);
  about = await answer.json();
  $("gate").hidden = true;
  stored(about.recording);
  draw_names();
  devices();
  return undefined;
}

function gate() {
  $("gate").hidden = false;
  $("token").focus();
}

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  // The part behind # stays in the browser: it is in no log.
  location.hash = `token=${encodeURIComponent($("token").value)}`;
  open();
});

async function devices() {
  if (!navigator.mediaDevices) return;
  const found = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  for (const [select, kind] of [[$("camera"), "videoinput"], [$("microphone"), "audioinput"]]) {
    const before = select.value;
    for (const option of [...select.options].slice(2)) option.remove();
    for (const device of found.filter((d) => d.kind === kind && d.deviceId && d.deviceId !== "default")) {
      select.add(new Option(device.label || `${select.options.length - 1}`, device.deviceId));
    }
    select.value = [...select.options].some((o) => o.value === before) ? before : "";
  }
}

function problem(text) {
  $("problem").textContent = text || "";
  $("problem").hidden = !text;
}

// What the server noticed of the source; it goes on all the same.
function note(text) {
  $("note").textContent = text || "";
  $("note").hidden = !text;
}

function status(text, live) {
  $("status").textContent = text;
  $("status").classList.toggle("live", Boolean(live));
}

// --- Sources ---

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera or microphone. Allow them for this page (the symbol beside the address), then press Start again.",
  NotFoundError: "No such camera or microphone is connected. Connect one, choose another, or choose a file.",
  NotReadableError: "The camera or microphone is in use by another program, or was unplugged. Close the other program, then press Start again.",
  OverconstrainedError: "The camera or microphone that was chosen is not there any more. Choose another.",
};

async function source() {
  const file = $("file").files[0];
  if (file) return from_file(file);
  const camera = $("camera").value, microphone = $("microphone").value;
  if (camera === "none" && microphone === "none") throw new Error("Choose a camera, a microphone or a file.");
  if (!navigator.mediaDevices) throw new Error("The browser gives cameras and microphones only to pages from https:// or from this machine (http://127.0.0.1).");
  const id = (value) => (value ? { deviceId: { exact: value } } : {});
  return navigator.mediaDevices.getUserMedia({
    video: camera !== "none" && { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, ...id(camera) },
    // The voice as it is: what the browser does for calls takes the emotion out of it.
    audio: microphone !== "none" && { echoCancellation: false, noiseSuppression: false, autoGainControl: false, ...id(microphone) },
  });
}

async function from_file(file) {
  const video = $("video");
  const capture = video.captureStream || video.mozCaptureStream;
  if (!capture) throw new Error("This browser cannot send a file as if it were live. Use Chrome, Edge or Firefox, or: affectstream score FILE");
  video.srcObject = null;
  video.src = URL.createObjectURL(file);
  video.muted = false;
  video.volume = 0.2;
  await new Promise((done, failed) => {
    video.onloadeddata = done;
    video.onerror = () => failed(new Error("The browser cannot play this file. Try: affectstream score FILE"));
  });
  const stream = capture.call(video);
  await video.play();
  video.onended = () => stop("The file has ended");
  return stream;
}

function show(stream, is_file) {
  const video = $("video");
  if (!is_file) {
    video.srcObject = stream;
    video.muted = true;
    video.play().catch(() => {});
  }
  video.classList.toggle("mirrored", !is_file);
  $("empty").hidden = stream.getVideoTracks().length > 0;
  $("empty").textContent = "Sound only";
  for (const track of stream.getTracks()) {
    track.addEventListener("ended", () => {
      if (!session || is_file) return;
      const what = track.kind === "video" ? "camera" : "microphone";
      if (stream.getTracks().some((t) => t.readyState === "live")) problem(`The ${what} is gone: unplugged, or taken back. The rest goes on.`);
      else stop("Stopped", `The ${what} is gone: unplugged, or taken back. Connect it, then press Start again.`);
    });
  }
}

// --- Ways to the server ---

async function by_webrtc(stream, mine) {
  if (!window.RTCPeerConnection) return null; // switched off in some browsers, against tracking
  const pc = new RTCPeerConnection({ iceServers: about.stun.map((urls) => ({ urls })) });
  const channel = pc.createDataChannel("events");
  channel.onmessage = (event) => mine === run && receive(event.data);
  for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  await pc.setLocalDescription(await pc.createOffer());
  await new Promise((done) => {
    if (pc.iceGatheringState === "complete") done();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done();
    setTimeout(done, 2000);
  });
  const answer = await ask("offer", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "offer", sdp: pc.localDescription.sdp }),
  });
  const given = await answer.json();
  if (!answer.ok) {
    pc.close();
    throw new Error(given.error);
  }
  await pc.setRemoteDescription({ type: "answer", sdp: eager(given.sdp) });
  const connected = await new Promise((done) => {
    channel.onopen = () => done(true);
    setTimeout(() => done(channel.readyState === "open"), CONNECT_MS);
  });
  if (!connected) {
    pc.close();
    await ask(`sessions/${given.session}`, { method: "DELETE" }); // its place is free again
    return null;
  }
  pc.onconnectionstatechange = () => pc.connectionState === "failed" && stop("Stopped", "The connection to the server was lost.");
  channel.onclose = () => stop("Ended by the server", why);
  return {
    way: "WebRTC",
    say: (message) => channel.readyState === "open" && channel.send(JSON.stringify(message)),
    end: () => {
      channel.onclose = () => pc.close(); // once the last event has come
      if (channel.readyState === "open") channel.send('{"type":"end"}');
    },
    close: () => pc.close(),
  };
}

// The browser starts low and, as only losses are reported to it, stays there: 720p would arrive as 360p.
function eager(sdp) {
  const types = [...sdp.matchAll(/a=rtpmap:(\d+) (?:VP8|H264)\/90000/g)].map((found) => found[1]);
  const wish = "x-google-start-bitrate=2500;x-google-min-bitrate=800";
  for (const type of types) {
    const line = new RegExp(`a=fmtp:${type} ([^\\r\\n]*)`);
    sdp = line.test(sdp) ? sdp.replace(line, `a=fmtp:${type} $1;${wish}`) : sdp.replace(new RegExp(`(a=rtpmap:${type} [^\\r\\n]*\\r\\n)`), `$1a=fmtp:${type} ${wish}\r\n`);
  }
  return sdp;
}

async function by_websocket(stream, mine) {
  const has_video = stream.getVideoTracks().length > 0, has_sound = stream.getAudioTracks().length > 0;
  const type = has_video ? "video/webm;codecs=vp8,opus" : "audio/webm;codecs=opus";
  if (!window.MediaRecorder || !MediaRecorder.isTypeSupported(type)) throw new Error("WebRTC did not connect, and this browser cannot record WebM: UDP to the server is blocked on the way.");
  const url = new URL("ingest", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.search = `?format=webm&modalities=${[has_video && "video", has_sound && "voice"].filter(Boolean)}&${query().suffix}`;
  const socket = new WebSocket(url);
  await new Promise((done, failed) => {
    socket.onopen = done;
    socket.onerror = () => failed(new Error("The server took no connection: it may be full, or gone."));
  });
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 1500000 });
  recorder.ondataavailable = (event) => {
    // What cannot be sent in time is worth nothing later; a hole in WebM would be worse than an end.
    if (socket.bufferedAmount > 4e6) stop("Stopped", "The way to the server is too slow.");
    else if (socket.readyState === WebSocket.OPEN && event.data.size) socket.send(event.data);
  };
  socket.onmessage = (event) => mine === run && receive(event.data);
  socket.onclose = (event) => session && stop("Ended by the server", why || event.reason || CLOSED[event.code] || "");
  recorder.start(100);
  return {
    way: "WebSocket",
    say: (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message)),
    end: () => {
      socket.onclose = null;
      recorder.ondataavailable = null;
      if (recorder.state !== "inactive") recorder.stop();
      if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"end"}');
    },
    close: () => socket.close(),
  };
}

async function start() {
  if (!about) await open();
  if (!about) return;
  $("start").disabled = true;
  problem("");
  status("Asking for the source …");
  let stream = null;
  run += 1;
  try {
    stream = await source();
    reset();
    show(stream, Boolean($("file").files[0]));
    devices();
    status("Connecting …");
    const forced = new URLSearchParams(location.search).get("way");
    const link = (forced !== "websocket" && (await by_webrtc(stream, run))) || (await by_websocket(stream, run));
    session = { stream, ...link };
    told = performance.now();
    session.ping = setInterval(() => beat(link), 1000);
    $("way").textContent = link.way;
    $("stop").disabled = false;
    for (const id of ["camera", "microphone", "file"]) $(id).disabled = true;
    document.body.classList.add("live");
    $("stop").focus(); // in the place of Start
    status("Live", true);
  } catch (error) {
    if (stream) for (const track of stream.getTracks()) track.stop();
    halt();
    status("Not started");
    problem(REASONS[error.name] || error.message);
  }
}

// Once a second while it runs. A server that was killed closes nothing: its silence has to be noticed.
function beat(link) {
  link.say({ type: "ping", t: performance.now() });
  const silent = performance.now() - told;
  if (silent > GONE_MS) stop("Stopped", GONE);
  else if (silent > SILENT_MS) status("No answer from the server …");
  else status("Live", true);
}

function halt() {
  const video = $("video");
  video.onended = video.onerror = null;
  video.pause();
  video.srcObject = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
  faces = null;
  $("empty").hidden = false;
  $("empty").textContent = "Choose a source and press Start";
  $("start").disabled = false;
  $("stop").disabled = true;
  for (const id of ["camera", "microphone", "file"]) $(id).disabled = false;
}

function stop(said, trouble) {
  if (!session) return;
  const ending = session;
  session = null;
  clearInterval(ending.ping);
  ending.end();
  setTimeout(ending.close, 1500);
  for (const track of ending.stream.getTracks()) track.stop();
  halt();
  document.body.classList.remove("live");
  if (document.activeElement === document.body) $("start").focus();
  status(said || "Stopped");
  problem(trouble);
}

// --- What comes back ---

function reset() {
  record = [];
  people = new Map();
  newest = 0;
  faces = null;
  known = {};
  why = "";
  chosen = null;
  $("words").hidden = true;
  note("");
  $("download").disabled = true;
  $("person").length = 0;
}

function receive(line) {
  told = performance.now();
  const message = JSON.parse(line);
  const what = { session: greeted, faces: located, words: heard, state: stated, pong: answered, error: refused }[message.type];
  if (what) return what(message);
  if (record.length < MAX_LINES) record.push(line);
  $("download").disabled = false;
  if (message.type === "emotion" || message.type === "attention") read(message);
  if (message.type === "stream" && message.what === "warning") note(`Note: ${message.detail}`);
  if (message.type === "stream" && message.what === "ended" && !message.complete) why = why || message.detail;
  return undefined;
}

function greeted(message) {
  stored(message.recording);
}

function stored(recording) {
  $("recording").hidden = !recording;
  $("private").hidden = recording;
}

function located(message) {
  faces = { ...message, came: performance.now() };
}

function heard(message) {
  $("words").hidden = false;
  $("words").textContent = `${message.speaker ? `${message.speaker}: ` : ""}${message.text}`;
}

function stated(message) {
  known.state = message;
  stored(message.recording);
}

function answered(message) {
  known.trip = performance.now() - message.t;
}

function refused(message) {
  why = message.error;
  problem(why);
}

function read(event) {
  const key = event.track === null ? "all" : event.track;
  if (!people.has(key)) people.set(key, { points: [] });
  const person = people.get(key);
  person.t = newest = Math.max(newest, event.t_end);
  known.age = event.age_ms;
  // A point of the history for each hop, of whichever comes first: a bundle may tell one of the two only.
  let point = person.points.at(-1);
  if (!point || point.t !== event.t_end) person.points.push(point = { t: event.t_end, scores: null, attention: null });
  if (event.type === "emotion") {
    person.emotion = event;
    point.scores = event.scores;
  } else {
    person.attention = event;
    point.attention = event.score;
  }
  while (person.points.length && person.points[0].t < newest - SPAN_S - 1) person.points.shift();
  for (const [number, one] of people) if (one.t < newest - SPAN_S) people.delete(number);
}

// --- Drawing ---

const SVG = "http://www.w3.org/2000/svg";

function patch(colour) {
  const svg = document.createElementNS(SVG, "svg");
  const rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", "0 0 1 1");
  rect.setAttribute("height", "1");
  rect.setAttribute("width", "1");
  rect.setAttribute("fill", colour);
  svg.append(rect);
  return svg;
}

const colour_of = (label) => COLOURS[label] || "#888";

function draw_names() {
  $("label").hidden = !about.labels.length;
  $("bars").replaceChildren(...about.labels.map((label) => {
    const item = document.createElement("li"), name = document.createElement("span"), value = document.createElement("span");
    name.className = "name";
    name.textContent = label;
    value.className = "value";
    value.textContent = "–";
    const bar = patch(colour_of(label));
    bar.firstChild.setAttribute("width", "0");
    item.append(name, bar, value);
    return item;
  }));
  $("legend").replaceChildren(...about.labels.map((label) => {
    const item = document.createElement("li");
    item.append(patch(colour_of(label)), label);
    return item;
  }));
  const strip = document.createElement("li");
  strip.append(patch("currentColor"), about.labels.length ? "attention, below" : "attention");
  strip.className = "strip";
  $("legend").append(strip);
}

function shown() {
  if (chosen !== null && people.has(chosen)) return chosen;
  const here = [...people].filter(([, person]) => person.t > newest - 2).map(([key]) => key);
  const numbered = here.filter((key) => key !== "all");
  return numbered.length ? Math.min(...numbered) : here[0];
}

const percent = (share) => `${Math.round(100 * share)} %`;

function draw_now(key) {
  const person = people.get(key);
  const event = person && person.emotion;
  const scores = event && event.scores;
  document.querySelector("#now h2").textContent = session || !person ? "Now" : "At the end";
  const [strong, more] = $("label").children;
  strong.textContent = (event && event.label) || "–";
  more.textContent = !event ? "" : event.label ? percent(event.confidence) : FAULTS[event.abstain] || "";
  about.labels.forEach((label, index) => {
    const [, bar, value] = $("bars").children[index].children;
    const score = scores ? scores[label] : 0;
    bar.firstChild.setAttribute("width", score);
    value.textContent = scores ? percent(score) : "–";
  });
  const attention = person && person.attention;
  $("meter").value = attention && attention.score !== null ? attention.score : 0;
  $("attentive").textContent = attention ? attention.state : "–";
}

function draw_people(key) {
  const keys = [...people.keys()].sort((a, b) => (a === "all") - (b === "all") || a - b);
  const select = $("person");
  if (keys.join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...keys.map((one) => new Option(one === "all" ? "nobody in view" : one, one)));
  }
  select.value = key;
  $("who").hidden = keys.length < 2;
}

$("person").addEventListener("change", (event) => {
  chosen = event.target.value === "all" ? "all" : Number(event.target.value);
});

function fitted(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return pen;
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

// Bands of the scores, one above the other; below them how attentive the person was, all of it where there is
// nothing else.
function draw_history(key) {
  const canvas = $("bands"), pen = fitted(canvas);
  const width = canvas.clientWidth, top = 4, left = 4, whole = canvas.clientHeight - top - 22;
  const strip = about.labels.length ? 24 : whole, height = about.labels.length ? whole - strip - 5 : 0;
  const across = width - 2 * left;
  const x = (t) => left + across * (1 - (newest - t) / SPAN_S);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = style("--well");
  pen.fillRect(left, top, across, height);
  pen.fillRect(left, top + whole - strip, across, strip);
  const points = (people.get(key) || { points: [] }).points.filter((point) => point.t >= newest - SPAN_S);
  const hop = about.hop_s;
  for (const point of points) {
    const from = Math.round(Math.max(left, x(point.t - hop))), to = Math.round(x(point.t));
    let at = top + height;
    for (const label of point.scores ? about.labels : []) {
      const tall = point.scores[label] * height;
      pen.fillStyle = colour_of(label);
      pen.fillRect(from, at - tall, to - from, tall + 0.3);
      at -= tall;
    }
    if (point.attention !== null) {
      const tall = Math.max(1, point.attention * strip);
      pen.fillStyle = style("--attention");
      pen.fillRect(from, top + whole - tall, to - from, tall);
    }
  }
  pen.fillStyle = style("--soft");
  for (const ago of width < 440 ? [120, 60, 0] : [120, 90, 60, 30, 0]) {
    pen.textAlign = ago === 120 ? "left" : ago === 0 ? "right" : "center";
    pen.fillText(ago ? `${ago} s ago` : "now", x(newest - ago), canvas.clientHeight - 4);
  }
  const { emotion, attention } = people.get(key) || {};
  const now = [emotion && (emotion.label || FAULTS[emotion.abstain]), attention && attention.state].filter(Boolean);
  const what = about.labels.length ? "Emotion bands above, attention below" : "Attention";
  canvas.setAttribute("aria-label", now.length ? `${what}. Now: ${now.join(", ")}` : "Nothing yet");
}

function draw_faces() {
  const canvas = $("overlay"), pen = fitted(canvas);
  if (!faces || performance.now() - faces.came > 700) return;
  const video = $("video"), mirrored = video.classList.contains("mirrored");
  const [wide, tall] = video.videoWidth ? [video.videoWidth, video.videoHeight] : faces.size;
  const scale = Math.min(canvas.clientWidth / wide, canvas.clientHeight / tall);
  const w = wide * scale, h = tall * scale, x0 = (canvas.clientWidth - w) / 2, y0 = (canvas.clientHeight - h) / 2;
  const x = (share) => x0 + w * (mirrored ? 1 - share : share), y = (share) => y0 + h * share;
  pen.font = "600 14px system-ui, sans-serif";
  for (const face of faces.faces) {
    const person = people.get(face.track), event = person && person.emotion;
    const [a, b] = [x(face.box[0]), x(face.box[2])].sort((p, q) => p - q);
    const colour = event && event.label ? colour_of(event.label) : "#ffffff";
    pen.lineWidth = 2.5;
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.roundRect(a, y(face.box[1]), b - a, y(face.box[3]) - y(face.box[1]), 8);
    pen.stroke();
    pen.fillStyle = colour;
    for (const [px, py] of face.landmarks) {
      pen.beginPath();
      pen.arc(x(px), y(py), 2.4, 0, 7);
      pen.fill();
    }
    const text = `${face.track === null ? "…" : face.track}${event && event.label ? ` ${event.label}` : ""}`;
    const long = pen.measureText(text).width + 14, up = Math.max(y0, y(face.box[1]) - 24);
    pen.fillRect(a, up, long, 21);
    pen.fillStyle = "#111";
    pen.fillText(text, a + 7, up + 15);
  }
}

const some = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

function draw_figures() {
  const state = known.state;
  if (!state) return;
  const ms = (value) => (value === null || value === undefined ? "–" : `${Math.round(value)} ms`);
  $("latency").textContent = state.latency_ms === null ? "–" : `${Math.round(state.latency_ms)} (${Math.round(state.latency_p95_ms)}) ms`;
  $("age").textContent = ms(known.age);
  $("fps").textContent = state.frames_in ? `${Math.round(state.fps)}, ${state.frame_hz} looked at` : "–";
  $("drops").textContent = `${some(state.frames_dropped, "picture")}${state.lines_dropped ? `, ${some(state.lines_dropped, "message")}` : ""}`;
  $("skew").textContent = ms(state.av_skew_ms);
}

function fit_frame() {
  const video = $("video");
  if (video.videoWidth) $("frame").style.setProperty("--aspect", video.videoWidth / video.videoHeight);
}

let drawn = 0;
function draw(now) {
  requestAnimationFrame(draw);
  if (!about) return;
  draw_faces();
  if (now - drawn < 200) return;
  drawn = now;
  const key = shown();
  draw_people(key);
  draw_now(key);
  draw_history(key);
  draw_figures();
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([record.join("\n"), "\n"], { type: "application/x-ndjson" }));
  link.download = `affectstream-${new Date().toISOString().replace(/[:.]/g, "-")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

$("start").addEventListener("click", start);
$("stop").addEventListener("click", () => stop("Stopped"));
$("download").addEventListener("click", download);
$("video").addEventListener("resize", fit_frame); // also when a phone is turned
window.addEventListener("pagehide", () => session && session.close());
if (navigator.mediaDevices) navigator.mediaDevices.addEventListener("devicechange", devices);
open();
requestAnimationFrame(draw);
