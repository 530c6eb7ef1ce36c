// The page about a folder of recordings: distributions, groups, what stands out, failures, pairs and all people.
"use strict";

const summary = JSON.parse($("data").textContent);

const unpack = (names, columns) => Array.from(columns[names[0]], (_, place) => Object.fromEntries(names.map((name) => [name, columns[name][place]])));
const rows = unpack(summary.names, summary.rows), pairs = unpack(summary.pairs.names, summary.pairs.rows);
const longEnough = rows.filter((row) => row.brief === false);
const inView = new Set(longEnough.filter((row) => row.track !== null).map((row) => row.recording));
const counted = longEnough.filter((row) => row.track !== null || !inView.has(row.recording));
const UNGROUPED = "all";
const groupOf = (row) => row.group || UNGROUPED;
const groups = [...new Set(counted.map(groupOf))].sort();
// Colors that color-blind people can tell apart, on a light and on a dark page.
const GROUP_COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d3b", "#56b4e9", "#e69f00", "#7f7f7f"];
const ON_DARK = ["#56b4e9", "#ff9e64", "#4fd1a5", "#e8a6c9", "#c8a776", "#a6d5f5", "#f3c14b", "#b5b5b5"];
const dark = matchMedia("(prefers-color-scheme: dark)");

function groupColor(group) {
  const colors = dark.matches && !document.documentElement.classList.contains("print") ? ON_DARK : GROUP_COLORS;
  return colors[groups.indexOf(group) % colors.length];
}

const NAMES = {
  valence: "Valence", arousal: "Arousal", attention: "Attention", attentive: "Attentive", gaze_away: "Looks away", speaking: "Speaks",
  segments_per_minute: "Segments a minute", confidence: "Confidence", coverage: "In view or heard", labeled: "With a label", quality: "Quality",
};
const titleOf = (column) => NAMES[column] || column.replace("share_", "").replace(/^./, (letter) => letter.toUpperCase());

function formatted(column, number) {
  if (number === null || number === undefined) return "–";
  if (column === "valence" || column === "arousal") return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;
  return column === "segments_per_minute" ? number.toFixed(1) : percent(number);
}

function addressOf(row, track = row.track, t = row.first_s) {
  if (!row.report) return null;
  const path = row.report.split("/").map(encodeURIComponent).join("/");
  return `${path}#t=${t || 0}&person=${track === null ? 0 : track}`;
}

function linked(row, text, track, t) {
  const address = addressOf(row, track, t);
  const made = element(address ? "a" : "span", text);
  if (address) made.href = address;
  made.title = text;
  return made;
}

function cell(content, className) {
  const made = element("td", typeof content === "object" && content ? null : content ?? "–", className);
  if (typeof content === "object" && content) made.append(content);
  return made;
}

function fillTable(table, heads, lines) {
  const head = element("tr"), body = element("tbody"), top = element("thead");
  head.append(...heads.map(([name, className]) => element("th", name, className)));
  top.append(head);
  body.append(...lines);
  table.replaceChildren(top, body);
}

// --- Distributions ---

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const ROW_PX = 34;
const panels = [];

// From the least to the greatest value, in tenths (in whole numbers for counts), at least two of these apart.
function rangeOf(column, numbers) {
  const unit = column === "segments_per_minute" ? 1 : 0.1;
  let low = Math.floor(numbers.reduce((a, b) => Math.min(a, b)) / unit + 1e-6), high = Math.ceil(numbers.reduce((a, b) => Math.max(a, b)) / unit - 1e-6);
  const [least, most] = { valence: [-10, 10], arousal: [-10, 10], segments_per_minute: [0, Infinity] }[column] || [0, 10];
  while (high - low < 2) [low, high] = [Math.max(least, low - 1), Math.min(most, high + 1)];
  return [low * unit, high * unit];
}

function buildPanels() {
  $("legend").replaceChildren(...(groups.length > 1 ? groups : []).map((group) => {
    const item = element("li"), mark = element("i");
    mark.dataset.group = group;
    item.append(mark, group);
    return item;
  }));
  $("compare-head").textContent = groups.length > 1 ? "Groups side by side" : "Distributions";
  for (const column of summary.columns) {
    const known = counted.filter((row) => row[column] !== null);
    if (!known.length || column.startsWith("share_")) continue;
    const range = rangeOf(column, known.map((row) => row[column]));
    const panel = element("div", null, "panel"), canvas = document.createElement("canvas"), ends = element("p", null, "ends");
    canvas.style.height = `${ROW_PX * groups.length}px`;
    ends.append(...range.map((end) => element("span", formatted(column, end))));
    panel.append(element("h3", titleOf(column)), canvas, ends);
    const means = summary.means.filter((mean) => mean.column === column);
    for (const mean of means) {
      const line = element("p", null, "mean"), name = element("span"), mark = element("i"), number = element("span");
      mark.dataset.group = mean.group;
      name.append(mark, groups.length > 1 ? mean.group : "mean");
      number.append(element("b", formatted(column, mean.mean)), mean.low === null ? "" : ` (${formatted(column, mean.low)} to ${formatted(column, mean.high)})`, ` n = ${mean.recordings}`);
      line.append(name, number);
      panel.append(line);
    }
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", means.map((mean) => `${mean.group}: mean ${formatted(column, mean.mean)}`).join(", "));
    const one = { column, range, known, canvas, means, dots: [] };
    canvas.addEventListener("pointermove", (event) => showDot(one, event));
    canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
    canvas.addEventListener("click", (event) => {
      const dot = dotAt(one, event), address = dot && addressOf(dot.row);
      if (address) location.href = address;
    });
    panels.push(one);
    $("panels").append(panel);
  }
  if (!panels.length) $("panels").append(element("p", "Nobody was in a recording long enough to be compared.", "none"));
  const { brief, interval_from: from } = summary.rules;
  $("compare-hint").textContent = `Each dot is a person in a recording: click it to open the report there. The bar is the mean over n recordings with its 95 % interval (percentile bootstrap over recordings, from ${from} on). People who are in less than ${percent(brief)} of a recording are left out; where nobody is in view, the recording itself counts.`;
}

// A number in [0, 1) that is always the same for a text, to keep dots apart.
function spread(text) {
  let hash = 2166136261;
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return ((hash ^ (hash >>> 15)) >>> 0) / 4294967296;
}

const MANY_DOTS = 2000; // from here on they are squares, which are drawn faster
const lineOf = new Map(groups.map((group, line) => [group, line]));
for (const row of counted) row.spread = spread(`${row.recording} ${row.track}`);

function drawPanels() {
  const [well, ink, card] = ["--well", "--text", "--card"].map(cssVariable);
  for (const panel of panels) {
    const pen = fitCanvas(panel.canvas), width = panel.canvas.clientWidth;
    const [low, high] = panel.range, x = (number) => 6 + ((number - low) / (high - low)) * (width - 12);
    groups.forEach((group, line) => {
      pen.fillStyle = well;
      pen.fillRect(0, line * ROW_PX + 2, width, ROW_PX - 4);
    });
    if (low < 0 && high > 0) { pen.fillStyle = cssVariable("--line"); pen.fillRect(x(0), 2, 1, ROW_PX * groups.length - 4); }
    const crowd = Math.max(1, panel.known.length / groups.length / 150);
    panel.dots = panel.known.map((row) => ({ row, x: x(row[panel.column]), y: lineOf.get(groupOf(row)) * ROW_PX + 8 + row.spread * (ROW_PX - 16) }));
    pen.globalAlpha = Math.max(0.2, 0.75 / Math.sqrt(crowd));
    groups.forEach((group) => {
      pen.fillStyle = groupColor(group);
      for (const dot of panel.dots) {
        if (groupOf(dot.row) !== group) continue;
        if (panel.dots.length > MANY_DOTS) {
          pen.fillRect(dot.x - 1.5, dot.y - 1.5, 3, 3);
          continue;
        }
        pen.beginPath();
        pen.arc(dot.x, dot.y, 3, 0, 7);
        pen.fill();
      }
    });
    pen.globalAlpha = 1;
    for (const mean of panel.means) {
      const top = groups.indexOf(mean.group) * ROW_PX;
      if (mean.low !== null) {
        pen.fillStyle = card;
        pen.fillRect(x(mean.low) - 1, top + ROW_PX / 2 - 3, x(mean.high) - x(mean.low) + 2, 6);
        pen.fillStyle = ink;
        pen.fillRect(x(mean.low), top + ROW_PX / 2 - 2, x(mean.high) - x(mean.low), 4);
      }
      pen.fillStyle = card;
      pen.fillRect(x(mean.mean) - 2.5, top + 3, 5, ROW_PX - 6);
      pen.fillStyle = ink;
      pen.fillRect(x(mean.mean) - 1.5, top + 4, 3, ROW_PX - 8);
    }
  }
}

function dotAt(panel, event) {
  let best = null, near = 12;
  for (const dot of panel.dots) {
    const far = Math.hypot(dot.x - event.offsetX, dot.y - event.offsetY);
    if (far < near) [best, near] = [dot, far];
  }
  return best;
}

function showDot(panel, event) {
  const dot = dotAt(panel, event), tip = $("tip");
  tip.hidden = !dot;
  if (!dot) return;
  const { row } = dot;
  tip.replaceChildren(element("span", `${row.recording}, ${row.person}`), element("br"), element("b", titleOf(panel.column)), ` ${formatted(panel.column, row[panel.column])}`);
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, window.innerHeight - tip.offsetHeight - 8)}px`;
}

// --- Tables ---

const MOST_LINES = 500; // of what stands out, failed, or moved together; summary.csv has all

function sharesBar(parts) {
  const bar = element("div", null, "shares");
  for (const [label, part] of parts) {
    if (!part) continue;
    const patch = colorPatch(colorOf(label));
    patch.style.width = `${100 * part}%`;
    bar.append(patch);
  }
  bar.title = parts.filter(([, part]) => part).map(([label, part]) => `${label} ${percent(part)}`).join(", ");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", bar.title || "no label");
  return bar;
}

function buildShares() {
  const means = (group) => summary.labels.map((label) => summary.means.find((mean) => mean.group === group && mean.column === `share_${label}`));
  const known = groups.filter((group) => means(group).some(Boolean));
  $("shares").hidden = !known.length;
  const heads = [[groups.length > 1 ? "Group" : "", "text"], ["", "text"], ...summary.labels.map((label) => [label])];
  fillTable(document.querySelector("#shares table"), heads, known.map((group) => {
    const line = element("tr"), found = means(group);
    line.append(cell(groups.length > 1 ? group : "all recordings", "text"), cell(sharesBar(summary.labels.map((label, place) => [label, found[place] && found[place].mean])), "text"));
    for (const mean of found) {
      const holder = cell(mean ? percent(mean.mean) : null);
      if (mean && mean.low !== null) holder.append(element("br"), element("small", `${percent(mean.low).replace(" %", "")}–${percent(mean.high)}`));
      line.append(holder);
    }
    return line;
  }));
}

function buildOutliers() {
  const lines = [], medians = {};
  for (const row of rows) {
    for (const [place, column] of (row.outlier ? row.outlier.split(";") : []).entries()) {
      if (lines.length === MOST_LINES) break;
      const middle = medians[column] ??= median(counted.map((one) => one[column]).filter((number) => number !== null));
      const line = element("tr");
      const at = row.outlier_at[place] ?? row.first_s; // where it stands out most
      line.append(cell(linked(row, row.recording, row.track, at), "text"), cell(row.person, "text"), cell(titleOf(column), "text"), cell(formatted(column, row[column])), cell(formatted(column, middle)));
      lines.push(line);
    }
  }
  fillTable(document.querySelector("#outliers table"), [["Recording", "text"], ["Person", "text"], ["What", "text"], ["Value"], ["Median of all"]], lines);
  document.querySelector("#outliers table").hidden = !lines.length;
  const { z, outliers_from: from, outliers_most: share } = summary.rules;
  $("outliers-hint").textContent = counted.length < from ? `With fewer than ${from} people nothing is called an outlier.`
    : `${lines.length ? "" : "Nothing stands out. "}A value stands out if it lies more than ${z} modified z-scores from the median of all people (Iglewicz and Hoaglin, 1993), unless more than ${percent(share)} of them do. Look at the recording first: often it is a bad picture.`;
}

function buildFailures() {
  const bad = rows.filter((row, place) => row.status !== "complete" && (!place || rows[place - 1].recording !== row.recording));
  $("failures").hidden = !bad.length;
  $("outliers").classList.toggle("wide", !bad.length);
  fillTable(document.querySelector("#failures table"), [["Recording", "text"], ["Status", "text"], ["Reason", "text"]], bad.slice(0, MOST_LINES).map((row) => {
    const line = element("tr");
    line.append(cell(linked(row, row.recording, null, 0), "text"), cell(row.status, "text"), cell(row.reason, "long"));
    return line;
  }));
}

function buildPairs() {
  $("pairs").hidden = !pairs.length;
  const name = (track) => (track === null ? "recording" : `person ${track}`);
  const lines = [...pairs].sort((a, b) => a.p - b.p || b.peak - a.peak).slice(0, MOST_LINES).map((pair) => {
    const line = element("tr"), above = pair.peak > pair.chance_high;
    const follows = Math.abs(pair.lag_s) < 0.25 ? "together" : `${name(pair.lag_s > 0 ? pair.second : pair.first)} follows by ${Math.abs(pair.lag_s).toFixed(1)} s`;
    line.append(cell(linked(pair, pair.recording, pair.first, 0), "text"), cell(`${name(pair.first)} and ${name(pair.second)}`, "text"), cell(pair.group, "text"), cell(pair.measure, "text"),
      cell(above ? element("b", pair.peak.toFixed(2)) : pair.peak.toFixed(2)), cell(`${pair.chance_low.toFixed(2)} to ${pair.chance_high.toFixed(2)}`), cell(pair.p.toFixed(3)), cell(above ? follows : "–", "text"), cell(pair.windows));
    return line;
  });
  fillTable(document.querySelector("#pairs table"), [["Recording", "text"], ["People", "text"], ["Group", "text"], ["Measure", "text"], ["Correlation"], ["By chance"], ["p"], ["Lag", "text"], ["Windows"]], lines);
}

function buildUse() {
  const recordings = [...new Map(rows.map((row) => [row.recording, row])).values()], counts = new Map();
  for (const { purpose, consent } of recordings) {
    const key = JSON.stringify([purpose, consent]);
    counts.set(key, (counts.get(key) || 0) + 1);
  }
  $("use").hidden = !recordings.some((row) => row.purpose || row.consent);
  const lines = [...counts].sort(([, a], [, b]) => b - a).slice(0, MOST_LINES).map(([key, count]) => {
    const line = element("tr");
    line.append(...JSON.parse(key).map((text) => cell(text || "not stated", "long")), cell(count));
    return line;
  });
  fillTable(document.querySelector("#use table"), [["Purpose", "text"], ["Consent", "text"], ["Recordings"]], lines);
}

const shownColumns = ["coverage", "labeled", "valence", "arousal", "attentive", "gaze_away", "speaking", "segments_per_minute", "quality"]
  .filter((column) => rows.some((row) => row[column] !== null));
let sorted = { column: "recording", down: false }, shown = 100;

function listAll() {
  const asked = $("find").value.trim().toLowerCase();
  const wanted = rows.filter((row) => row.track !== undefined && `${row.recording} ${row.group || ""} ${row.person || ""} ${row.status}`.toLowerCase().includes(asked));
  const sign = sorted.down ? -1 : 1, key = sorted.column;
  wanted.sort((a, b) => {
    const [one, other] = [a[key], b[key]];
    if (one === other || (one ?? null) === (other ?? null)) return 0;
    if (one === null || one === undefined) return 1;
    if (other === null || other === undefined) return -1;
    return (one < other ? -1 : 1) * sign;
  });
  const table = document.querySelector("#all table"), hasGroups = rows.some((row) => row.group);
  const heads = [["recording", "Recording", "text"], ...(hasGroups ? [["group", "Group", "text"]] : []), ["person", "Person", "text"], ...(summary.labels.length ? [[null, "Share of each label", "text"]] : []), ...shownColumns.map((column) => [column, titleOf(column), ""])];
  const head = element("tr"), top = element("thead"), body = element("tbody");
  for (const [column, title, className] of heads) {
    const holder = element("th", column ? null : title, className);
    if (column) {
      const button = element("button", title);
      button.type = "button";
      button.addEventListener("click", () => {
        sorted = { column, down: sorted.column === column ? !sorted.down : !["recording", "group", "person"].includes(column) };
        listAll();
      });
      holder.append(button);
      if (column === key) holder.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    }
    head.append(holder);
  }
  for (const row of wanted.slice(0, shown)) {
    const line = element("tr", null, row.brief ? "brief" : ""), odd = (row.outlier || "").split(";");
    line.append(cell(linked(row, row.recording), "text"));
    if (hasGroups) line.append(cell(row.group, "text"));
    line.append(cell(row.person || row.status, "text"));
    if (summary.labels.length) line.append(cell(sharesBar(summary.labels.map((label) => [label, row[`share_${label}`]])), "text"));
    for (const column of shownColumns) {
      const text = formatted(column, row[column]);
      line.append(cell(odd.includes(column) ? element("mark", text) : text));
    }
    body.append(line);
  }
  top.append(head);
  table.replaceChildren(top, body);
  $("more").hidden = wanted.length <= shown;
  $("more").textContent = `Show more of ${wanted.length}`;
}

$("find").addEventListener("input", () => { shown = 100; listAll(); });
$("more").addEventListener("click", () => { shown += 500; listAll(); });
window.addEventListener("resize", drawPanels);
dark.addEventListener("change", drawAgain);
window.addEventListener("beforeprint", () => { document.documentElement.classList.add("print"); drawAgain(); });
window.addEventListener("afterprint", () => { document.documentElement.classList.remove("print"); drawAgain(); });

function drawAgain() {
  for (const mark of document.querySelectorAll("i[data-group]")) mark.style.background = groupColor(mark.dataset.group);
  drawPanels();
}

function buildHeader() {
  const recordings = [...new Map(rows.map((row) => [row.recording, row])).values()];
  const seconds = recordings.reduce((sum, row) => sum + (row.duration_s || 0), 0), hours = seconds / 3600;
  const long = hours >= 1 ? `${hours.toFixed(1)} hours` : seconds >= 120 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds)} seconds`;
  $("subtitle").textContent = [plural(recordings.length, "recording"), long, plural(counted.length, counted.length === 1 ? "person" : "people").replace("peoples", "people"), ...(groups.length > 1 ? [plural(groups.length, "group")] : [])].join(" · ");
  const count = (status) => recordings.filter((row) => row.status === status).length;
  const badges = [["complete", "good"], ["incomplete", "warn"], ["failed", "warn"]].filter(([status]) => count(status)).map(([status, className]) => element("li", `${count(status)} ${status}`, className));
  $("badges").replaceChildren(...badges);
}

$("all-hint").textContent = `Each row opens the report where this person is first in view or heard. “Recording” is what was heard of nobody in view. A gray row: in less than ${percent(summary.rules.brief)} of the recording, in no comparison. A colored number stands out.`;
buildHeader();
buildPanels();
buildShares();
buildOutliers();
buildFailures();
buildPairs();
buildUse();
listAll();
drawAgain();
