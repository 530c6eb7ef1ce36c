// Draws the results: the newest scores, two minutes of history, and boxes on the video. bands.js has what the
// report draws too.
"use strict";

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
  const known = (value) => value !== null && value !== undefined;
  const affect = ["valence", "arousal"].filter((name) => event && known(event[name])).map((name) => `${name} ${event[name].toFixed(2)}`);
  $("affect").hidden = !affect.length;
  $("affect").textContent = affect.join(", ");
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
  const points = (people.get(key) || { points: [] }).points
    .filter((point) => point.t >= newestS - HISTORY_S)
    .map(({ t, scores, attention }) => ({
      from: Math.round(Math.max(left, x(t - about.hop_s))), to: Math.round(x(t)), attention,
      scores: scores && about.labels.map((label) => scores[label]),
    }));
  drawBands(pen, top, height, points, about.labels);
  drawAttention(pen, top + whole - strip, strip, points, cssVariable("--attention"));
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
