// What holds at the playhead: the reading of the chosen person, the words, and the place in the lists.
"use strict";

function buildMoment() {
  $("label").hidden = !LABELS.length;
  $("bars").replaceChildren(...LABELS.map((label) => {
    const item = element("li"), bar = colorPatch(colorOf(label));
    bar.firstChild.setAttribute("width", "0");
    item.append(element("span", label, "name"), bar, element("span", "–", "value"));
    return item;
  }));
  $("affect").hidden = !hasSeries("valence");
  $("look").hidden = !hasSeries("yaw") && !hasSeries("attention");
  $("used").replaceChildren(...report.used.map((name) => element("li", MODALITY_NAMES[name])));
  const legend = LABELS.map((label) => {
    const item = element("li");
    item.append(colorPatch(colorOf(label)), label);
    return item;
  });
  $("legend").replaceChildren(...legend, element("li", "no label, or nobody in view", "hatch"));
}

function drawMoment() {
  const person = chosen();
  $("time").textContent = clock(state.t, true);
  drawPlayhead();
  drawSaid();
  markSegment();
  if (!person) return;
  const place = placeOf(person, state.t);
  const reading = place === null ? null : readingAt(person, place);
  const [strong, more] = $("label").children;
  strong.textContent = (reading && reading.label) || "–";
  more.textContent = !reading ? `no reading here: ${span(person)}` : reading.label ? `${percent(reading.confidence)} sure` : ABSTAIN_REASONS[reading.abstain] || "";
  LABELS.forEach((_, label) => {
    const [, bar, number] = $("bars").children[label].children, scores = reading && reading.scores;
    bar.firstChild.setAttribute("width", scores ? scores[label] : 0);
    number.textContent = scores ? percent(scores[label]) : "–";
  });
  drawAffect(person, place, reading);
  drawLook(reading);
  report.used.forEach((name, item) => {
    $("used").children[item].className = reading && reading.used.includes(name) ? "on" : "off";
  });
  for (const { shown, values, format } of charts) {
    shown.forEach(({ name }, line) => {
      const number = reading && reading[name];
      values[line].textContent = number === null || number === undefined ? "–" : format(number);
    });
  }
  $("lanes").setAttribute("aria-valuemax", END.toFixed(1));
  $("lanes").setAttribute("aria-valuenow", state.t.toFixed(1));
  $("lanes").setAttribute("aria-valuetext", [clock(state.t, true), person.title, ...describe(reading)].join(", "));
}

const span = (person) => `from ${clock(person.summary.first_s, true)} to ${clock(person.summary.last_s, true)}`;

function describe(reading) {
  if (!reading) return ["no reading"];
  return [
    reading.label ? `${reading.label} ${percent(reading.confidence)}` : ABSTAIN_REASONS[reading.abstain],
    reading.state, reading.speaks && "speaks",
  ].filter(Boolean);
}

function drawAffect(person, place, reading) {
  const known = reading && reading.valence !== null && reading.arousal !== null;
  $("valence").textContent = known ? signed(reading.valence) : "–";
  $("arousal").textContent = known ? signed(reading.arousal) : "–";
  $("affect-dot").setAttribute("visibility", known ? "visible" : "hidden");
  const trail = [];
  for (let before = Math.max(0, place - Math.round(10 / HOP)); place !== null && before <= place; before += 1) {
    const [valence, arousal] = ["valence", "arousal"].map((name) => value(person, name, before));
    if (valence !== null && arousal !== null) trail.push(`${valence.toFixed(3)},${(-arousal).toFixed(3)}`);
  }
  $("trail").setAttribute("points", trail.join(" "));
  if (!known) return;
  $("affect-dot").setAttribute("cx", reading.valence);
  $("affect-dot").setAttribute("cy", -reading.arousal);
}

// Where the eyes look, as the camera sees it: 45 degrees are the rim.
function drawLook(reading) {
  const known = reading && reading.yaw !== null && reading.pitch !== null;
  const [right, up] = known ? [reading.yaw / 45, reading.pitch / 45] : [0, 0];
  const far = Math.max(1, Math.hypot(right, up));
  $("look-dot").setAttribute("visibility", known ? "visible" : "hidden");
  $("look-dot").setAttribute("cx", right / far);
  $("look-dot").setAttribute("cy", -up / far);
  $("look-line").setAttribute("d", known ? `M0 0L${(right / far).toFixed(3)} ${(-up / far).toFixed(3)}` : "");
  const closed = reading && reading.eyes !== null && reading.eyes < EYES_CLOSED;
  const score = reading && reading.attention !== null ? ` ${percent(reading.attention)}` : "";
  $("look-text").replaceChildren("Attention ", element("b", reading && reading.state ? `${reading.state}${score}` : "–"),
    element("br"), closed ? "eyes closed" : known ? `looks ${Math.round(Math.abs(reading.yaw))}° ${reading.yaw < 0 ? "left" : "right"}, ${Math.round(Math.abs(reading.pitch))}° ${reading.pitch < 0 ? "down" : "up"}` : "no face in view");
}

function drawPlayhead() {
  const line = $("playhead");
  if (!line || !lanes.length) return;
  const field = lanes[0].canvas, inside = state.t >= state.from && state.t <= state.to;
  line.hidden = !inside;
  line.style.left = `${field.offsetLeft + field.parentElement.offsetLeft + x(state.t, field.clientWidth)}px`;
}

function drawSaid() {
  const until = firstAfter(report.words, state.t, (row) => row[0]);
  const row = report.words.slice(Math.max(0, until - 8), until).findLast(([start, end]) => start <= state.t && state.t < end);
  const said = $("said");
  if (said.dataset.row === String(row && row[0])) return;
  said.dataset.row = String(row && row[0]);
  said.replaceChildren(...(row ? [...(row[2] ? [element("b", `${row[2]}:`)] : []), row[3]] : report.words.length ? ["…"] : []));
}

let markedRow = null;
function markSegment() {
  const person = chosen();
  if (!person) return;
  const row = segmentRows.find(({ segment: [track, of, , start, end] }) => track === person.track && of === "emotion" && start <= state.t && state.t < end);
  if (row === markedRow) return;
  if (markedRow) markedRow.item.classList.remove("current");
  markedRow = row || null;
  if (!row) return;
  row.item.classList.add("current");
  const box = row.item.closest(".tall"), top = row.item.offsetTop - box.clientHeight / 2;
  if (!box.matches(":hover")) box.scrollTop = top;
}
