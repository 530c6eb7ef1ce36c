// What does not follow the playhead: people, pairs, segments, notes, how it was made, and the limits.
"use strict";

let segmentRows = []; // {segment, item} of the rows that are shown

const cell = (text, className) => element("td", text === null || text === undefined ? "–" : text, className);
const share = (number) => (number === null ? null : percent(number));

function headOf(table, names) {
  const row = element("tr");
  row.append(...names.map(([name, className]) => element("th", name, className)));
  const head = element("thead");
  head.append(row);
  table.replaceChildren(head, element("tbody"));
  return table.lastChild;
}

function buildPeople() {
  const hasAffect = hasSeries("valence"), voice = report.used.includes("voice");
  const columns = [
    ["Person", (p) => { const go = cell(""); const button = element("button", p.title); button.type = "button"; button.addEventListener("click", () => { choose(people.indexOf(p)); $("timeline").scrollIntoView(); }); go.append(...portrait(p), button); return go; }, "text"],
    ["In view or heard", (p) => cell(share(p.summary.coverage))],
    LABELS.length && ["With a label", (p) => cell(share(p.summary.labeled))],
    LABELS.length && ["Share of each label", (p) => sharesCell(p), "text"],
    hasAffect && ["Valence", (p) => cell(signed(p.summary.valence))],
    hasAffect && ["Arousal", (p) => cell(signed(p.summary.arousal))],
    hasSeries("attention") && ["Attentive", (p) => cell(share(p.summary.states.attentive))],
    hasSeries("attention") && ["Looks away", (p) => cell(share(p.summary.gaze_away))],
    voice && ["Speaks", (p) => cell(share(p.summary.speaking))],
    LABELS.length && ["Segments a minute", (p) => cell(p.summary.segments_per_minute === null ? null : p.summary.segments_per_minute.toFixed(1))],
    hasSeries("quality") && ["Quality", (p) => cell(share(p.summary.quality))],
  ].filter(Boolean);
  const body = headOf(document.querySelector("#people table"), columns.map(([name, , className]) => [name, className]));
  for (const person of people) {
    const row = element("tr");
    row.append(...columns.map(([, make]) => make(person)));
    body.append(row);
  }
  $("people-hint").textContent = `Numbers tell people apart within this recording only${report.people.length > 3 ? ": after a cut, or a while out of view, one person may have a second number" : ""}. “Recording” is what was heard of nobody in view. “Looks away” is the share of the time in view.`;
}

function sharesCell(person) {
  const holder = cell("", "text"), bar = element("div", null, "shares");
  const parts = Object.entries(person.summary.labels).filter(([, part]) => part);
  for (const [label, part] of parts) {
    const patch = colorPatch(colorOf(label));
    patch.style.width = `${100 * part}%`;
    bar.append(patch);
  }
  bar.title = parts.map(([label, part]) => `${label} ${percent(part)}`).join(", ") || "no label";
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", bar.title);
  holder.append(bar);
  return holder;
}

function buildPairs() {
  $("pairs").hidden = !report.pairs.length;
  const spans = [...new Set(report.pairs.map((pair) => `${pair.window} s, up to ${Math.max(...pair.lags)} s`))].join(", or ");
  $("pairs-hint").textContent = `In windows of ${spans} earlier or later, the readings of one person are correlated with those of the other (windowed cross-correlation: Boker, Xu, Rotondo and King, 2002). The number is the mean of each window's highest correlation; chance is the middle 95 % of what the same readings give when one person's are shifted by more than a window. Each picture shows time from left to right and lag from top to bottom: orange where both move alike, blue where they move against each other. Of people who are only heard, a straight line joins the turns of up to 10 s apart. Moving together is not agreement, and not liking.`;
  $("pair-list").replaceChildren(...report.pairs.map((pair) => {
    const row = element("div", null, "pair"), text = element("p"), canvas = document.createElement("canvas");
    const [first, second] = pair.tracks.map(nameOf), above = pair.peak > pair.chance[1];
    const leads = Math.abs(pair.lag) < HOP / 2 ? "at the same time" : `${pair.lag > 0 ? second : first} follows by ${Math.abs(pair.lag).toFixed(1)} s`;
    text.append(element("b", `${first} and ${second.toLowerCase()}`), `, ${pair.measure}`, element("br"),
      element("strong", pair.peak.toFixed(2)), ` ${above ? "above chance" : "within chance"} (${pair.chance.map((one) => one.toFixed(2)).join(" to ")}; p\u00a0=\u00a0${pair.p.toFixed(3)})`,
      element("br"), above ? leads : "no lag worth naming", ` · ${plural(pair.windows, "window")}`);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Correlation over time and lag: ${pair.peak.toFixed(2)}, ${above ? "above" : "within"} chance`);
    canvas.addEventListener("click", (event) => {
      seek(pair.from + (event.offsetX / canvas.clientWidth) * (pair.to - pair.from));
    });
    row.append(text, canvas);
    requestAnimationFrame(() => drawPair(canvas, pair));
    return row;
  }));
}

// Orange where both move alike, blue where they move against each other; each row is a lag.
function drawPair(canvas, pair) {
  const columns = pair.map[2] && bytes(pair.map[2]), rows = pair.lags.length, count = columns.length / rows;
  Object.assign(canvas, { width: count, height: rows });
  const pen = canvas.getContext("2d"), picture = pen.createImageData(count, rows);
  for (let column = 0; column < count; column += 1) {
    for (let row = 0; row < rows; row += 1) {
      const byte = columns[column * rows + row], at = 4 * (row * count + column);
      if (byte === MISSING) continue;
      const strength = byte / 127 - 1, [r, g, b] = strength > 0 ? [217, 95, 14] : [44, 123, 182];
      picture.data.set([r, g, b, Math.round(255 * Math.min(1, Math.abs(strength)) ** 1.5)], at);
    }
  }
  pen.putImageData(picture, 0, 0);
}

function buildSegments() {
  const states = [...new Set(report.segments.map((segment) => segment[2]))].sort();
  const options = [new Option("all", ""), new Option("emotions", "emotion"), new Option("attention", "attention"), ...states.map((one) => new Option(one, `=${one}`))];
  $("filter").replaceChildren(...options);
  $("filter").addEventListener("change", listSegments);
  if (report.segments.some((segment) => segment[1] === "emotion")) $("filter").value = "emotion";
  listSegments();
}

function segmentRow(segment) {
  const [track, of, name, start, end, mean, peak] = segment;
  const item = element("tr", null, "jump"), go = cell("", "text"), button = element("button", clock(start, true)), named = cell("", "text");
  button.type = "button";
  go.append(button);
  if (of === "emotion") named.append(colorPatch(colorOf(name)));
  named.append(name);
  item.append(go, cell(nameOf(track), "text"), named, cell(duration(end - start)), cell(percent(mean)), cell(percent(peak)));
  item.addEventListener("click", () => seek(start));
  return { segment, item };
}

// The first rows at once, the others little by little: a long recording has thousands.
function listSegments() {
  const asked = $("filter").value;
  const wanted = report.segments.filter(([, of, name]) => !asked || of === asked || `=${name}` === asked);
  const body = headOf(document.querySelector("#segments table"), [["From", "text"], ["Person", "text"], ["State", "text"], ["Lasts"], ["Mean"], ["Peak"]]);
  const mine = segmentRows = [];
  markedRow = null;
  const more = () => {
    if (segmentRows !== mine) return; // another list was chosen
    const rows = wanted.slice(mine.length, mine.length + 150).map(segmentRow);
    mine.push(...rows);
    body.append(...rows.map(({ item }) => item));
    if (mine.length < wanted.length) setTimeout(more, 20);
    else drawMoment();
  };
  if (wanted.length) more();
  else body.append(element("tr", "No state lasted long enough to be a segment."));
}

const WHATS = { gap: "Nothing recorded", warning: "Warning", dropped: "Dropped", reconnected: "Reconnected" };

function buildNotes() {
  $("notes").hidden = !report.notes.length && report.complete;
  const rows = report.notes.slice(0, 200).map(([from, to, what, detail, modalities]) => {
    const item = element("li"), where = to > from ? `${clock(from, true)} to ${clock(to, true)}` : clock(from, true);
    const kind = modalities.map((name) => ({ video: "picture", voice: "sound", text: "words" })[name]).join(" and ");
    item.textContent = `${where}: ${what === "gap" ? `no ${kind}` : detail || WHATS[what]}`;
    return item;
  });
  if (!report.complete) rows.unshift(element("li", `The recording was not read to its end: ${report.detail || "interrupted"}.`));
  document.querySelector("#notes ul").replaceChildren(...rows);
}

function buildMade() {
  const rows = Object.entries(report.made).flatMap(([name, text]) => [element("dt", name), element("dd", text)]);
  document.querySelector("#made dl").replaceChildren(...rows);
  document.querySelector("#limits ul").replaceChildren(...report.limits.map((text) => element("li", text)));
}

function buildHeader() {
  const persons = people.filter((person) => person.track !== null).length;
  const heard = report.used.map((name) => MODALITY_NAMES[name]).join(", ");
  $("subtitle").textContent = [duration(report.end - report.start), persons ? plural(persons, persons === 1 ? "person" : "people").replace("peoples", "people") : "nobody in view", heard && `from ${heard}`].filter(Boolean).join(" · ");
  $("length").textContent = `of ${clock(END)}`;
  const badges = [element("li", report.complete ? "complete" : "incomplete", report.complete ? "good" : "warn")];
  if (report.notes.length) badges.push(element("li", `${plural(report.notes.length, "note")}`, "warn"));
  badges.push(element("li", report.bundle));
  $("badges").replaceChildren(...badges);
}
