// Draws the results: the newest scores, two minutes of history, and boxes on the video.
"use strict";

// The colors of Okabe and Ito, which color-blind people can tell apart.
const COLORS = { neutral: "#9aa3af", anger: "#d55e00", disgust: "#009e73", fear: "#cc79a7", joy: "#e6b800", sadness: "#3b82c4", surprise: "#7fc4ee", contempt: "#8a6d3b" };
const ABSTAIN_REASONS = {
  no_face: "no face in view", tiny_face: "the face is too small", blurred_face: "the face is blurred",
  turned_face: "the face is turned away", no_picture: "no picture", no_speech: "nobody speaks", no_words: "no words",
  language: "another language", low_confidence: "not sure", conflict: "face, voice and words disagree",
};

const EYES_CLOSED = 0.35; // as in stream/faces/blinks.py

const SVG = "http://www.w3.org/2000/svg";

function colorPatch(color) {
  const svg = document.createElementNS(SVG, "svg");
  const rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", "0 0 1 1");
  rect.setAttribute("height", "1");
  rect.setAttribute("width", "1");
  rect.setAttribute("fill", color);
  svg.append(rect);
  return svg;
}

const colorOf = (label) => COLORS[label] || "#888";

function drawNames() {
  $("label").hidden = !about.labels.length;
  $("bars").replaceChildren(...about.labels.map((label) => {
    const item = document.createElement("li"), name = document.createElement("span"), value = document.createElement("span");
    name.className = "name";
    name.textContent = label;
    value.className = "value";
    value.textContent = "–";
    const bar = colorPatch(colorOf(label));
    bar.firstChild.setAttribute("width", "0");
    item.append(name, bar, value);
    return item;
  }));
  $("legend").replaceChildren(...about.labels.map((label) => {
    const item = document.createElement("li");
    item.append(colorPatch(colorOf(label)), label);
    return item;
  }));
  const strip = document.createElement("li");
  strip.append(colorPatch("currentColor"), about.labels.length ? "attention, below" : "attention");
  strip.className = "strip";
  $("legend").append(strip);
}

function shownPerson() {
  if (chosenPerson !== null && people.has(chosenPerson)) return chosenPerson;
  const present = [...people].filter(([, person]) => person.t > newestS - 2).map(([key]) => key);
  const numbered = present.filter((key) => key !== "all");
  return numbered.length ? Math.min(...numbered) : present[0];
}

const percent = (share) => `${Math.round(100 * share)} %`;

function drawNow(key) {
  const person = people.get(key);
  const event = person && person.emotion;
  const scores = event && event.scores;
  document.querySelector("#now h2").textContent = session || !person ? "Now" : "At the end";
  const [strong, more] = $("label").children;
  strong.textContent = (event && event.label) || "–";
  more.textContent = !event ? "" : event.label ? percent(event.confidence) : ABSTAIN_REASONS[event.abstain] || "";
  about.labels.forEach((label, index) => {
    const [, bar, value] = $("bars").children[index].children;
    const score = scores ? scores[label] : 0;
    bar.firstChild.setAttribute("width", score);
    value.textContent = scores ? percent(score) : "–";
  });
  const attention = person && person.attention;
  $("meter").value = attention && attention.score !== null ? attention.score : 0;
  const closed = attention && attention.eyes_open !== null && attention.eyes_open < EYES_CLOSED;
  $("attentive").textContent = attention ? `${attention.state}${closed ? ", eyes closed" : ""}` : "–";
}

function drawPeople(key) {
  const keys = [...people.keys()].sort((a, b) => (a === "all") - (b === "all") || a - b);
  const select = $("person");
  if (keys.join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...keys.map((one) => new Option(one === "all" ? "nobody in view" : one, one)));
  }
  select.value = key;
  $("who").hidden = keys.length < 2;
}

$("person").addEventListener("change", (event) => {
  chosenPerson = event.target.value === "all" ? "all" : Number(event.target.value);
});

function fitCanvas(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return pen;
}

const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

// Bands of the emotion scores, stacked, and a strip of attention below them. Without emotions the strip takes
// the whole height.
function drawHistory(key) {
  const canvas = $("bands"), pen = fitCanvas(canvas);
  const width = canvas.clientWidth, top = 4, left = 4, whole = canvas.clientHeight - top - 22;
  const strip = about.labels.length ? 24 : whole, height = about.labels.length ? whole - strip - 5 : 0;
  const across = width - 2 * left;
  const x = (t) => left + across * (1 - (newestS - t) / HISTORY_S);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = cssVariable("--well");
  pen.fillRect(left, top, across, height);
  pen.fillRect(left, top + whole - strip, across, strip);
  const points = (people.get(key) || { points: [] }).points.filter((point) => point.t >= newestS - HISTORY_S);
  const hop = about.hop_s;
  for (const point of points) {
    const from = Math.round(Math.max(left, x(point.t - hop))), to = Math.round(x(point.t));
    let at = top + height;
    for (const label of point.scores ? about.labels : []) {
      const tall = point.scores[label] * height;
      pen.fillStyle = colorOf(label);
      pen.fillRect(from, at - tall, to - from, tall + 0.3);
      at -= tall;
    }
    if (point.attention !== null) {
      const tall = Math.max(1, point.attention * strip);
      pen.fillStyle = cssVariable("--attention");
      pen.fillRect(from, top + whole - tall, to - from, tall);
    }
  }
  pen.fillStyle = cssVariable("--soft");
  for (const ago of width < 440 ? [120, 60, 0] : [120, 90, 60, 30, 0]) {
    pen.textAlign = ago === 120 ? "left" : ago === 0 ? "right" : "center";
    pen.fillText(ago ? `${ago} s ago` : "now", x(newestS - ago), canvas.clientHeight - 4);
  }
  const { emotion, attention } = people.get(key) || {};
  const now = [emotion && (emotion.label || ABSTAIN_REASONS[emotion.abstain]), attention && attention.state].filter(Boolean);
  const what = about.labels.length ? "Emotion bands above, attention below" : "Attention";
  canvas.setAttribute("aria-label", now.length ? `${what}. Now: ${now.join(", ")}` : "Nothing yet");
}

// An arrow to where a head points or eyes look: yaw to the right of the picture and pitch up, in degrees.
function drawArrow(pen, [x, y], angles, reach, mirrored, color) {
  if (!angles) return;
  const [yaw, pitch] = angles.map((degrees) => (degrees * Math.PI) / 180);
  const across = Math.sin(yaw) * Math.cos(pitch) * (mirrored ? -1 : 1), up = Math.sin(pitch);
  pen.strokeStyle = pen.fillStyle = color;
  pen.lineWidth = 2.5;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + reach * across, y - reach * up);
  pen.stroke();
  pen.beginPath();
  pen.arc(x + reach * across, y - reach * up, 3.5, 0, 7);
  pen.fill();
}

function drawFaces() {
  const canvas = $("overlay"), pen = fitCanvas(canvas);
  if (!faces || performance.now() - faces.cameMs > 700) return;
  const video = $("video"), mirrored = video.classList.contains("mirrored");
  const [wide, tall] = video.videoWidth ? [video.videoWidth, video.videoHeight] : faces.size;
  const scale = Math.min(canvas.clientWidth / wide, canvas.clientHeight / tall);
  const w = wide * scale, h = tall * scale, x0 = (canvas.clientWidth - w) / 2, y0 = (canvas.clientHeight - h) / 2;
  const x = (share) => x0 + w * (mirrored ? 1 - share : share), y = (share) => y0 + h * share;
  pen.font = "600 14px system-ui, sans-serif";
  for (const face of faces.faces) {
    const person = people.get(face.person), event = person && person.emotion;
    const [a, b] = [x(face.box[0]), x(face.box[2])].sort((p, q) => p - q);
    const color = event && event.label ? colorOf(event.label) : "#ffffff";
    pen.lineWidth = 2.5;
    pen.strokeStyle = color;
    pen.beginPath();
    pen.roundRect(a, y(face.box[1]), b - a, y(face.box[3]) - y(face.box[1]), 8);
    pen.stroke();
    pen.fillStyle = color;
    const dot = face.landmarks.length > 5 ? 1.2 : 2.4;
    for (const [px, py] of face.landmarks) {
      pen.beginPath();
      pen.arc(x(px), y(py), dot, 0, 7);
      pen.fill();
    }
    const [middle, reach] = [[(a + b) / 2, y((face.box[1] + face.box[3]) / 2)], 0.6 * (b - a)];
    drawArrow(pen, middle, face.head, reach, mirrored, color);
    drawArrow(pen, middle, face.gaze, reach, mirrored, "#ffd84d");
    pen.fillStyle = color;
    const text = `${face.person === null ? "…" : face.person}${event && event.label ? ` ${event.label}` : ""}`;
    const long = pen.measureText(text).width + 14, up = Math.max(y0, y(face.box[1]) - 24);
    pen.fillRect(a, up, long, 21);
    pen.fillStyle = "#111";
    pen.fillText(text, a + 7, up + 15);
  }
}

const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

function drawMetrics() {
  const state = latest.state;
  if (!state) return;
  const ms = (value) => (value === null || value === undefined ? "–" : `${Math.round(value)} ms`);
  $("latency").textContent = state.latency_ms === null ? "–" : `${ms(state.latency_ms)} (${ms(state.latency_p95_ms)})`;
  $("age").textContent = ms(latest.ageMs);
  $("fps").textContent = state.frames_in ? `${Math.round(state.fps)} (${state.frame_hz} analyzed)` : "–";
  $("drops").textContent = `${plural(state.frames_dropped, "frame")}${state.lines_dropped ? `, ${plural(state.lines_dropped, "message")}` : ""}`;
  $("skew").textContent = ms(state.av_skew_ms);
}

// Gives the frame the aspect ratio of the video.
function fitFrame() {
  const video = $("video");
  if (video.videoWidth) $("frame").style.setProperty("--aspect", video.videoWidth / video.videoHeight);
}

let drawnMs = 0;
function draw(now) {
  requestAnimationFrame(draw);
  if (!about) return;
  drawFaces();
  if (now - drawnMs < 200) return;
  drawnMs = now;
  const key = shownPerson();
  drawPeople(key);
  drawNow(key);
  drawHistory(key);
  drawMetrics();
}

$("video").addEventListener("resize", fitFrame); // also when a phone is turned
