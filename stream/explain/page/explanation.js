// The page of one explanation: everything is drawn once from its numbers.
"use strict";

const found = JSON.parse($("data").textContent);
const { event, explained } = found;

function clock(t) {
  const tenths = Math.round(t * 10), minutes = Math.floor(tenths / 600);
  return `${minutes}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

const MODALITY_NAMES = { video: "Face", voice: "Voice", text: "Words", metadata: "Age and gender" };
const isLabel = Boolean(explained.scores && explained.name in explained.scores);
const shown = (value) => (value === null ? "–" : isLabel ? percent(value) : value.toFixed(2));
// A fall of the score is positive in the numbers: what was hidden speaks for it.
function points(change) {
  if (change === null) return "–";
  const number = isLabel ? (100 * change).toFixed(Math.abs(change) < 0.0995 ? 1 : 0) : change.toFixed(3);
  return `${change < 0 ? "−" : "+"}${number.replace("-", "")}`;
}
const top1 = (scores) => Object.entries(scores).reduce((best, one) => (one[1] > best[1] ? one : best));
const colorFor = (change) => (change < 0 ? found.colors.against : found.colors.for);

const SVG = "http://www.w3.org/2000/svg";
function svg(className, width, height, shapes) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", `0 0 ${width} ${height}`);
  made.setAttribute("preserveAspectRatio", "none");
  made.setAttribute("aria-hidden", "true");
  if (className) made.setAttribute("class", className);
  for (const [x, y, wide, tall, fill, opacity] of shapes) {
    const one = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ x, y, width: wide, height: tall, fill, opacity: opacity ?? 1 })) one.setAttribute(name, value);
    made.append(one);
  }
  return made;
}

// A bar from the middle: to the right for the label, to the left against it.
function centered(change, scale, className) {
  const half = Math.min(1, Math.abs(change) / scale) * 50;
  return svg(className, 100, 10, [[change < 0 ? 50 - half : 50, 0, half, 10, colorFor(change)], [49.7, 0, 0.6, 10, "gray"]]);
}

function changeRow(name, change, scale) {
  const row = element("div", null, "change");
  row.append(element("span", name), change === null ? element("span") : centered(change, scale), element("span", points(change), "value"));
  return row;
}

const largest = (values) => Math.max(found.colors.least, ...values.map((value) => Math.abs(value ?? 0)));

function buildWhat() {
  const [strong, more] = $("label").children;
  strong.textContent = event.label || (event.abstain ? "no label" : explained.name);
  more.textContent = event.label ? `${percent(event.confidence)} sure` : ABSTAIN_REASONS[event.abstain] || "";
  const scores = event.scores || {};
  $("bars").replaceChildren(...Object.entries(scores).map(([label, score]) => {
    const item = element("li"), bar = colorPatch(colorOf(label));
    bar.firstChild.setAttribute("width", score);
    item.append(element("span", label, "name"), bar, element("span", percent(score), "value"));
    return item;
  }));
  const { t_start, t_end } = found.window;
  $("what-hint").textContent =
    `Below: what the ${isLabel ? "score" : "value"} of ${explained.name}, ${shown(explained.value)}, rests on. It was ` +
    `computed from the ${(t_end - t_start).toFixed(1)} s before ${clock(t_end)}. Parts of that input were hidden, one at a ` +
    `time, and the same engines computed the score again.${found.notes.length ? ` ${found.notes.join(" ")}` : ""}`;
}

function buildModalities() {
  const table = document.querySelector("#modalities table"), head = element("tr");
  for (const [text, name] of [["", "text"], ["Alone it says", "text"], [`${explained.name} alone`], ["Without it", "text"], [`${explained.name} without it`], ["Change", "text"], [""]]) head.append(element("th", text, name));
  const scale = largest(found.modalities.map((one) => one.change));
  const says = (answer) => {
    if (!answer || !answer.scores) return "–";
    const [label, score] = top1(answer.scores);
    return `${label} ${percent(score)}`;
  };
  const rows = found.modalities.map((one) => {
    const row = element("tr"), bar = element("td");
    if (one.change !== null) bar.append(centered(one.change, scale, "bar"));
    row.append(element("td", MODALITY_NAMES[one.modality]), element("td", says(one.alone), "text"), element("td", one.alone ? shown(one.alone.value) : "–"),
      element("td", one.without ? says(one.without) : "nothing is left", "text"), element("td", one.without ? shown(one.without.value) : "–"), bar, element("td", points(one.change)));
    return row;
  });
  const header = element("thead"), body = element("tbody");
  header.append(head);
  body.append(...rows);
  table.replaceChildren(header, body);
  $("modalities-hint").textContent = found.modalities.length > 1
    ? `Change: how far ${explained.name} falls, in percentage points, when the modality is masked as if it had been absent; to the right it speaks for ${explained.name}, to the left against it. ` +
      "The score is calibrated for the modalities that are left."
    : "Only one modality was used, so nothing is left without it.";
}

function part(title) {
  const card = element("section", null, "card wide part");
  card.append(element("h2", title));
  $("parts").append(card);
  return card;
}

function scaleLine(values) {
  const line = element("p", null, "scale"), scale = largest(values.flat());
  const steps = Array.from({ length: 40 }, (_, n) => {
    const value = (n - 19.5) / 19.5;
    return [n, 0, 1.05, 1, colorFor(value), Math.abs(value) * 0.8];
  });
  line.append(`${points(-scale)}`, svg("", 40, 1, steps), `${points(scale)}`, element("span", `orange: hiding it lowers ${explained.name}; blue: hiding it raises it`));
  return line;
}

function picture(name, text) {
  const image = element("img");
  image.src = found.pictures[name];
  image.alt = text;
  return image;
}

const numbered = (name, n) => (n ? `${name}_${n + 1}.png` : `${name}.png`);
const KINDS = { face: "The face, as the encoder saw it", person: "The person, as the encoder saw them", frame: "The picture, as the encoder saw it" };

function buildFaces() {
  found.face.forEach((face, n) => {
    const card = part(KINDS[face.kind]), two = element("div", null, "two"), left = element("div"), right = element("div");
    left.append(picture(numbered("face", n), "The crop, and the crop with the parts colored that matter"), scaleLine(face.grid));
    const names = Object.keys(face.regions), values = Object.values(face.regions);
    if (names.length) {
      const scale = largest(values);
      right.append(element("h3", "Without a whole part of the face"), ...names.map((name) => changeRow(name, face.regions[name], scale)));
    }
    right.append(element("h3", "Without one frame"), frameStrip(face.frames));
    right.append(element("p", `${plural(face.frames.length, "frame")} of ${clock(face.frames[0].t)} to ${clock(face.frames.at(-1).t)}; upwards: the frame speaks for ${explained.name}. Largest change: ${points(largestOf(face.frames.map((one) => one.change)))}.`, "hint"));
    two.append(left, right);
    card.append(two, element("p", `${face.size} × ${face.size} pixels. Each patch is hidden in all frames of the window at once.`, "hint"));
  });
  if (!found.pictures["frame.png"]) return;
  $("context").hidden = false;
  document.querySelector("#context img").src = found.pictures["frame.png"];
  $("context-hint").textContent = `At ${clock(found.face[0].frames.at(-1).t)}.`;
}

const largestOf = (values) => values.reduce((best, one) => (Math.abs(one) > Math.abs(best) ? one : best), 0);

function frameStrip(frames) {
  const scale = Math.max(0.001, ...frames.map((one) => Math.abs(one.change)));
  const bars = frames.map(({ change }, n) => {
    const tall = (Math.abs(change) / scale) * 46;
    return [n * 10 + 1, change < 0 ? 50 : 50 - tall, 8, Math.max(1, tall), colorFor(change)];
  });
  return svg("strip", frames.length * 10, 100, bars);
}

function buildVoices() {
  found.voice.forEach((voice, n) => {
    const card = part("The voice"), axis = element("div", null, "axis");
    axis.append(element("span", voice.t_start < 0 ? `${(-voice.t_start).toFixed(1)} s before the beginning` : clock(voice.t_start)), element("span", `0 to ${voice.top_hz / 1000} kHz, upwards`), element("span", clock(voice.t_end)));
    card.append(picture(numbered("voice", n), "The spectrogram, and the same with the parts colored that matter"), axis, scaleLine(voice.grid));
    card.append(element("p", "Above: the sound (dark is loud). Below: what matters in it. A hidden stretch of a band is made as quiet as the quietest tenth of that band in the window.", "hint"));
  });
}

function buildWords() {
  if (!found.words.length) return;
  const card = part("The words"), scale = largest(found.words.map((one) => one.change));
  for (const earlier of [true, false]) {
    const rows = found.words.filter((one) => one.earlier === earlier);
    if (!rows.length) continue;
    const line = element("p", null, "words");
    for (const { text, change } of rows) {
      const word = element("span", text), strength = Math.round(Math.min(1, Math.abs(change ?? 0) / scale) * 60);
      word.style.background = `color-mix(in srgb, ${colorFor(change ?? 0)} ${strength}%, transparent)`;
      word.append(element("small", points(change)));
      line.append(word);
    }
    if (earlier) card.append(element("h3", "Earlier utterances, each left out as a whole"), line, element("h3", "The current utterance"));
    else card.append(line);
  }
  card.append(scaleLine(found.words.map((one) => one.change ?? 0)), element("p", "Each word is left out in turn, and the rest is read without it.", "hint"));
}

function buildMade() {
  document.querySelector("#limits ul").replaceChildren(...found.limits.map((text) => element("li", text)));
  const options = Object.entries(found.options).filter(([name]) => !["purpose", "consent"].includes(name)).map(([name, value]) => `${name.replace("_", " ")}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const rows = [
    ["Recording", found.stream], ["Hop", `${found.hop}: ${event.t_start} to ${event.t_end} s`],
    ["Recognizer", `${found.bundle.name} ${found.bundle.version}, manifest ${found.bundle.manifest_sha256.slice(0, 16)}…`],
    ["Options", options.join(", ") || "defaults"], ["Purpose", found.purpose || "not stated"], ["Consent", found.consent || "not stated"],
    ["Face", "occlusion by patches of the mean color of the crop"], ["Voice", "occlusion in the short-time spectrum"],
    ["Words", "one word left out"], ["All numbers", "explanation.json"],
  ];
  const list = document.querySelector("#made dl");
  for (const [name, text] of rows) list.append(element("dt", name), element("dd", text));
}

buildWhat();
buildModalities();
buildFaces();
buildVoices();
buildWords();
buildMade();
