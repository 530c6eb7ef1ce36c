// The timeline: a block of lanes for each person, all lanes of the chosen one, words, and the whole recording.
"use strict";

let lanes = []; // {canvas, draw} of what is shown
let charts = []; // the curves of the chosen person
let hatch = null;

const x = (t, width) => ((t - state.from) / (state.to - state.from)) * width;

function hatching(pen) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const lines = tile.getContext("2d");
  lines.strokeStyle = cssVariable("--hatch");
  lines.lineWidth = 1;
  lines.beginPath();
  for (const shift of [-8, 0, 8]) { lines.moveTo(shift, 8); lines.lineTo(shift + 8, 0); }
  lines.stroke();
  return pen.createPattern(tile, "repeat");
}

// One point for each hop, or for each pixel where a pixel holds several hops: then the means of what is there.
function points(person, width) {
  const across = (HOP / (state.to - state.from)) * width; // pixels of a hop
  const firstHop = Math.max(person.first, Math.floor(state.from / HOP));
  const lastHop = Math.min(person.first + person.count - 1, Math.ceil(state.to / HOP));
  const each = Math.max(1, Math.floor(1 / across)), made = [];
  for (let hop = firstHop - (firstHop % each); hop <= lastHop; hop += each) {
    const from = Math.floor(Math.max(0, x(hop * HOP, width))), to = Math.ceil(x(Math.min(END, (hop + each) * HOP), width));
    const point = meanOf(person, hop - person.first, each);
    if (point && to > from) made.push({ from, to: across > 3 ? to : Math.max(to, from + 1), ...point });
  }
  return made;
}

function meanOf(person, first, count) {
  const scores = LABELS.map(() => 0), used = person.series.used.data, verdict = person.series.verdict.data;
  let present = 0, scored = 0, abstained = 0, attention = 0, attended = 0, absent = 0, speaks = 0;
  const bits = report.modalities.map(() => 0);
  for (let place = Math.max(0, first); place < Math.min(first + count, person.count); place += 1) {
    if (used[place] === MISSING) continue;
    present += 1;
    if (verdict[place] >= ABSTAINS) abstained += 1;
    if (used[place] & SPEAKS) speaks += 1;
    if (used[place] >> 4 === 3) absent += 1;
    bits.forEach((_, bit) => { if (used[place] & (1 << bit)) bits[bit] += 1; });
    const found = scoresAt(person, place), score = value(person, "attention", place);
    if (found) { scored += 1; found.forEach((share, label) => { scores[label] += share; }); }
    if (score !== null) { attended += 1; attention += score; }
  }
  if (!present) return null;
  return {
    scores: scored ? scores.map((sum) => sum / scored) : null,
    attention: attended ? attention / attended : null,
    abstained: abstained / present > 0.5, absent: absent / present > 0.5,
    speaks: speaks / present, used: bits.map((count) => count / present),
  };
}

function drawEmotion(pen, width, height, made) {
  pen.fillStyle = cssVariable("--well");
  pen.fillRect(0, 0, width, height);
  drawBands(pen, 0, height, made, LABELS);
  const veil = cssVariable("--card");
  for (const { from, to, abstained } of made) {
    if (!abstained) continue;
    pen.globalAlpha = 0.6;
    pen.fillStyle = veil;
    pen.fillRect(from, 0, to - from, height);
    pen.globalAlpha = 1;
    pen.fillStyle = hatch;
    pen.fillRect(from, 0, to - from, height);
  }
}

function drawAttentionLane(pen, width, height, made) {
  pen.fillStyle = cssVariable("--well");
  pen.fillRect(0, 0, width, height);
  drawAttention(pen, 0, height, made, cssVariable("--attention"));
  pen.fillStyle = hatch;
  for (const { from, to, absent } of made) if (absent) pen.fillRect(from, 0, to - from, height);
}

function drawSegments(pen, width, height, person, of) {
  pen.fillStyle = cssVariable("--well");
  pen.fillRect(0, 0, width, height);
  pen.font = "600 11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const [track, kind, label, start, end] of report.segments) {
    if (track !== person.track || kind !== of || end < state.from || start > state.to) continue;
    const from = Math.max(0, x(start, width)), to = Math.min(width, x(end, width));
    pen.fillStyle = colorOf(label);
    pen.fillRect(from, 0, Math.max(1, to - from - 1), height);
    if (to - from > 20 && pen.measureText(label).width + 8 < to - from) {
      pen.fillStyle = ["sadness", "contempt"].includes(label) ? "#fff" : "#14171c";
      pen.fillText(label, from + 5, height / 2 + 0.5);
    }
  }
}

function drawUsed(pen, width, height, made) {
  const rows = report.modalities.map((name, bit) => ({ name, bit })).filter(({ name }) => report.used.includes(name));
  const each = height / rows.length;
  rows.forEach(({ bit }, row) => {
    pen.fillStyle = cssVariable("--well");
    pen.fillRect(0, row * each, width, each - 2);
    pen.fillStyle = cssVariable("--soft");
    for (const { from, to, used } of made) {
      pen.globalAlpha = used[bit];
      pen.fillRect(from, row * each, to - from, each - 2);
    }
    pen.globalAlpha = 1;
  });
}

function drawSpeaks(pen, width, height, made) {
  pen.fillStyle = cssVariable("--well");
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = cssVariable("--speaks");
  for (const { from, to, speaks } of made) {
    pen.globalAlpha = speaks;
    pen.fillRect(from, 0, to - from, height);
  }
  pen.globalAlpha = 1;
}

const TICKS_S = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

function drawRuler(pen, width, height) {
  const span = state.to - state.from;
  const every = TICKS_S.find((tick) => (tick / span) * width > 64) || 14400;
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = cssVariable("--soft");
  pen.textBaseline = "top";
  for (let t = Math.ceil(state.from / every) * every; t <= state.to + 1e-6; t += every) {
    const at = x(t, width);
    pen.fillRect(at, height - 5, 1, 5);
    const text = clock(t, every < 1), long = pen.measureText(text).width;
    pen.fillText(text, Math.min(Math.max(0, at - long / 2), width - long), 0);
  }
  pen.fillStyle = hatch;
  for (const [from, to, what] of report.notes) {
    if (what === "gap") pen.fillRect(x(from, width), height - 6, Math.max(2, x(to, width) - x(from, width)), 6);
  }
}

function drawWords(pen, width, height) {
  pen.fillStyle = cssVariable("--well");
  pen.fillRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const [box, ink] = [cssVariable("--line"), cssVariable("--text")];
  for (const [start, end, speaker, text] of report.words) {
    if (end < state.from || start > state.to) continue;
    const from = Math.max(0, x(start, width)), to = Math.min(width, x(end, width));
    pen.fillStyle = box;
    pen.fillRect(from, 0, Math.max(1, to - from - 1), height);
    if (to - from < 30) continue;
    pen.save();
    pen.beginPath();
    pen.rect(from, 0, to - from - 4, height);
    pen.clip();
    pen.fillStyle = ink;
    pen.fillText(speaker ? `${speaker}: ${text}` : text, from + 5, height / 2 + 0.5);
    pen.restore();
  }
}

// --- The lanes of the page ---

function addLane(holder, name, height, draw) {
  const lane = element("div", null, "lane"), gutter = element("span", null, "gutter"), field = element("div", null, "field");
  const canvas = document.createElement("canvas");
  gutter.append(...[name].flat());
  canvas.style.height = `${height}px`;
  field.append(canvas);
  lane.append(gutter, field);
  holder.append(lane);
  lanes.push({ canvas, draw });
  return gutter;
}

function addPerson(holder, person) {
  const row = element("div", null, "name-row"), who = element("div", null, "who"), button = element("button", person.title);
  const place = people.indexOf(person), full = place === state.person;
  button.type = "button";
  button.setAttribute("aria-pressed", full);
  button.addEventListener("click", () => choose(place));
  who.append(...portrait(person), button);
  row.append(who, element("span", inWords(person)));
  holder.append(row);
  const cache = {};
  const mine = (width) => {
    const key = `${state.from} ${state.to} ${width}`;
    if (cache.key !== key) Object.assign(cache, { key, made: points(person, width) });
    return cache.made;
  };
  const lane = (name, height, draw) => addLane(holder, name, height, (pen, width) => draw(pen, width, height, mine(width)));
  if (LABELS.length) lane("Emotion", full ? 74 : 34, drawEmotion);
  if (LABELS.length && full) lane("Segments", 20, (pen, width, height) => drawSegments(pen, width, height, person, "emotion"));
  if (person.series.attention) lane("Attention", full ? 26 : 12, drawAttentionLane);
  if (report.used.includes("voice")) lane(person.track === null ? "Speech" : "Speaks", full ? 12 : 8, drawSpeaks);
  if (!full) return;
  if (person.series.valence) addChart(holder, person, ["valence", "arousal"], -1, 1, signed);
  if (person.series.yaw) addChart(holder, person, ["yaw", "pitch"], -60, 60, (v) => `${Math.round(v)}°`.replace("-", "−"), ["Looks right", "Looks up"]);
  if (LABELS.length) addChart(holder, person, ["confidence", "quality"], 0, 1, percent);
  const names = report.modalities.filter((name) => report.used.includes(name)).map((name) => MODALITY_NAMES[name]);
  lane(`Used: ${names.join(", ")}`, 8 * names.length, drawUsed);
}

// The picture of a person, where the report holds one.
function portrait(person) {
  const source = report.portraits[person.track];
  if (!source) return [];
  const picture = document.createElement("img");
  Object.assign(picture, { src: source, alt: "", width: 36, height: 36 });
  return [picture];
}

function inWords(person) {
  const { labels, states, speaking, labeled } = person.summary;
  const first = Object.entries(labels).filter(([, share]) => share).sort((a, b) => b[1] - a[1])[0];
  return [
    LABELS.length && `labeled ${percent(labeled)} of the time`,
    first && `mostly ${first[0]} (${percent(first[1])})`,
    states.attentive !== null && `attentive ${percent(states.attentive)}`,
    speaking !== null && person.track !== null && `speaks ${percent(speaking)}`,
  ].filter(Boolean).join(" · ");
}

function addChart(holder, person, names, low, high, format, titles = names) {
  const shown = names.map((name, place) => ({ name, title: titles[place] })).filter(({ name }) => name === "confidence" || person.series[name]);
  const lane = element("div", null, "lane"), gutter = element("span", null, "gutter"), field = element("div", null, "field");
  lane.append(gutter, field);
  holder.append(lane);
  const colors = ["--first", "--second"];
  const values = shown.map(({ title }, place) => {
    const line = element("span"), mark = element("i"), number = element("b", "–");
    mark.style.color = `var(${colors[place]})`;
    line.append(mark, `${title[0].toUpperCase()}${title.slice(1)} `, number, document.createElement("br"));
    gutter.append(line);
    return number;
  });
  const times = [], data = shown.map(() => []);
  for (let place = 0; place < person.count; place += 1) {
    times.push((person.first + place + 0.5) * HOP);
    shown.forEach(({ name }, line) => {
      const scores = name === "confidence" ? scoresAt(person, place) : null;
      data[line].push(name === "confidence" ? scores && Math.max(...scores) : value(person, name, place));
    });
  }
  charts.push({ field, data: [times, ...data], low, high, colors, plot: null, values, shown, format });
}

function plotOf(chart, width) {
  const stroke = (name, dash) => ({ stroke: cssVariable(name), width: 1.5, dash, points: { show: chart.data[0].length < 4 } });
  return new uPlot({
    width, height: 62, legend: { show: false }, cursor: { show: false }, select: { show: false }, padding: [3, 0, 3, 0],
    scales: { x: { time: false, range: () => [state.from, state.to] }, y: { range: () => [chart.low, chart.high] } },
    axes: [{ show: false }, { show: false }],
    series: [{}, ...chart.shown.map((_, place) => stroke(chart.colors[place], place ? [5, 3] : undefined))],
    hooks: {
      drawClear: [({ ctx, bbox }) => {
        ctx.fillStyle = cssVariable("--well");
        ctx.fillRect(0, 0, ctx.canvas.width, ctx.canvas.height);
        ctx.fillStyle = cssVariable("--line");
        const zero = bbox.top + bbox.height * (chart.high / (chart.high - chart.low));
        for (const at of [zero, bbox.top + bbox.height / 2]) ctx.fillRect(bbox.left, Math.round(at), bbox.width, 1);
      }],
      draw: [({ ctx, bbox }) => { // the ends of the range, over the curves
        ctx.font = `${10 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.textAlign = "right";
        for (const [end, line, at] of [[chart.high, "top", bbox.top], [chart.low, "bottom", bbox.top + bbox.height]]) {
          const text = chart.format(end), long = ctx.measureText(text).width + 6 * devicePixelRatio, tall = 12 * devicePixelRatio;
          ctx.fillStyle = cssVariable("--well");
          ctx.fillRect(bbox.left + bbox.width - long, line === "top" ? at : at - tall, long, tall);
          ctx.fillStyle = cssVariable("--soft");
          ctx.textBaseline = line;
          ctx.fillText(text, bbox.left + bbox.width - 3 * devicePixelRatio, at);
        }
      }],
    },
  }, chart.data, chart.field);
}

function buildLanes() {
  const holder = $("lanes");
  for (const { plot } of charts) if (plot) plot.destroy();
  [lanes, charts] = [[], []];
  holder.replaceChildren();
  addLane(holder, "", 20, (pen, width) => drawRuler(pen, width, 20));
  if (report.words.length) addLane(holder, "Words", 24, (pen, width) => drawWords(pen, width, 24));
  for (const person of shownPeople()) addPerson(holder, person);
  for (const id of ["picked", "cursor", "playhead"]) {
    const line = element("div");
    line.id = id;
    line.hidden = id !== "playhead";
    holder.append(line);
  }
  const hidden = people.filter(isBrief).length;
  $("brief").hidden = !hidden;
  $("brief").textContent = state.brief ? "Hide brief appearances" : `Show ${plural(hidden, "brief appearance")}`;
  $("person").replaceChildren(...people.map((person, place) => new Option(person.title, place)));
  $("person").value = state.person;
  $("who").hidden = people.length < 2;
}

function drawLanes() {
  if (!lanes.length) return;
  hatch = hatching(lanes[0].canvas.getContext("2d"));
  for (const { canvas, draw } of lanes) draw(fitCanvas(canvas), canvas.clientWidth);
  for (const chart of charts) {
    const width = chart.field.clientWidth;
    if (!chart.plot) chart.plot = plotOf(chart, width);
    else if (chart.plot.width !== width) chart.plot.setSize({ width, height: 62 });
    else chart.plot.setScale("x", { min: state.from, max: state.to });
  }
  drawOverview();
}

// The emotion segments of the chosen person over the whole recording, and what of it the timeline shows.
function drawOverview() {
  const canvas = document.querySelector("#overview canvas"), pen = fitCanvas(canvas), width = canvas.clientWidth;
  const kind = LABELS.length ? "emotion" : "attention", [attends, away] = [cssVariable("--attention"), cssVariable("--hatch")];
  const at = (t) => ((t - START) / (END - START)) * width;
  for (const [track, of, label, start, end] of report.segments) {
    if (!chosen() || track !== chosen().track || of !== kind) continue;
    pen.fillStyle = of === "emotion" ? colorOf(label) : label === "attentive" ? attends : away;
    pen.fillRect(at(start), 4, Math.max(1, at(end) - at(start)), 18);
  }
  const frame = $("window");
  frame.style.left = `${(100 * (state.from - START)) / (END - START)}%`;
  frame.style.width = `${(100 * (state.to - state.from)) / (END - START)}%`;
}
