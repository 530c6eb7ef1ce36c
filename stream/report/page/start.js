// Mouse, touch and keys, and the start.
"use strict";

function timeAt(event, box = lanes[0].canvas.getBoundingClientRect()) {
  return state.from + ((event.clientX - box.left) / box.width) * (state.to - state.from);
}

function placeLine(id, from, to) {
  const field = lanes[0].canvas, left = field.offsetLeft + field.parentElement.offsetLeft, width = field.clientWidth;
  const line = $(id), [start, end] = [from, to].map((t) => Math.min(Math.max(0, x(t, width)), width));
  line.hidden = false;
  line.style.left = `${left + start}px`;
  if (id === "picked") line.style.width = `${end - start}px`;
}

let pressed = null; // {t, x, from, to} where the pointer went down
$("lanes").addEventListener("pointerdown", (event) => {
  if (event.target.closest("button") || event.button) return;
  pressed = { t: timeAt(event), x: event.clientX, from: state.from, to: state.to };
});
window.addEventListener("pointermove", (event) => {
  if (!pressed) return;
  const t = timeAt(event), moved = Math.abs(event.clientX - pressed.x) > 5;
  if (!moved) return;
  if (event.pointerType === "touch") {
    const shift = ((event.clientX - pressed.x) / lanes[0].canvas.clientWidth) * (pressed.to - pressed.from);
    setView(pressed.from - shift, pressed.to - shift);
  } else placeLine("picked", Math.min(pressed.t, t), Math.max(pressed.t, t));
});
window.addEventListener("pointerup", (event) => {
  if (!pressed) return;
  const t = timeAt(event), { t: start, x: at } = pressed;
  pressed = null;
  $("picked").hidden = true;
  if (Math.abs(event.clientX - at) <= 5) seek(t);
  else if (event.pointerType !== "touch") setView(Math.min(start, t), Math.max(start, t));
});
window.addEventListener("pointercancel", () => { pressed = null; });

$("lanes").addEventListener("dblclick", () => setView(START, END));
$("lanes").addEventListener("wheel", (event) => {
  const along = Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (!along && !event.ctrlKey && !event.metaKey && !event.altKey) return; // the page scrolls
  event.preventDefault();
  if (!along) return void zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
  const shift = (event.deltaX / lanes[0].canvas.clientWidth) * (state.to - state.from);
  setView(state.from + shift, state.to + shift);
}, { passive: false });

// --- What is under the pointer ---

$("lanes").addEventListener("pointermove", (event) => {
  const box = lanes[0].canvas.getBoundingClientRect();
  if (event.pointerType === "touch" || event.clientX < box.left || event.clientX > box.right) return hideTip();
  const t = timeAt(event, box), tip = $("tip"), person = chosen();
  placeLine("cursor", t);
  tip.replaceChildren(element("time", clock(t, true)));
  for (const one of state.brief || shownPeople().length < 5 ? shownPeople() : [person]) {
    const place = placeOf(one, t);
    if (place === null) continue;
    const [label, ...rest] = describe(readingAt(one, place));
    tip.append(element("br"), `${one.title}: `, element("b", label || "–"), rest.length ? `, ${rest.join(", ")}` : "");
  }
  const words = report.words.find(([start, end]) => start <= t && t < end);
  if (words) tip.append(element("br"), `“${words[3].slice(0, 120)}”`);
  tip.hidden = false;
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 18, window.innerHeight - tip.offsetHeight - 8)}px`;
  return undefined;
});
function hideTip() {
  $("tip").hidden = true;
  if ($("cursor")) $("cursor").hidden = true;
}
$("lanes").addEventListener("pointerleave", hideTip);

// --- The whole recording below: drag to move or, outside the frame, to go there ---

const field = document.querySelector("#overview .field");
function moveWindow(event) {
  const box = field.getBoundingClientRect(), span = state.to - state.from;
  const middle = START + ((event.clientX - box.left) / box.width) * (END - START);
  setView(middle - span / 2, middle + span / 2);
}
field.addEventListener("pointerdown", (event) => {
  field.setPointerCapture(event.pointerId);
  if (state.to - state.from > 0.98 * (END - START)) {
    const box = field.getBoundingClientRect();
    seek(START + ((event.clientX - box.left) / box.width) * (END - START));
  } else moveWindow(event);
});
field.addEventListener("pointermove", (event) => field.hasPointerCapture(event.pointerId) && moveWindow(event));

// --- Keys ---

const KEYS = {
  " ": togglePlay, k: togglePlay,
  ArrowLeft: (event) => seek(state.t - (event.shiftKey ? 5 : HOP)), ArrowRight: (event) => seek(state.t + (event.shiftKey ? 5 : HOP)),
  PageUp: () => seek(state.t - 30), PageDown: () => seek(state.t + 30), Home: () => seek(START), End: () => seek(END),
  n: () => step(1), p: () => step(-1), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => setView(START, END),
};
const ON_LANES = ["PageUp", "PageDown", "Home", "End"]; // elsewhere they scroll the page
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, video")) return;
  if (event.key === " " && event.target.closest("button")) return;
  if (ON_LANES.includes(event.key) && event.target !== $("lanes")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[1-9]$/.test(key)) {
    if (shownPeople()[key - 1]) choose(people.indexOf(shownPeople()[key - 1]));
  } else if (KEYS[key]) KEYS[key](event);
  else return;
  event.preventDefault();
});

// --- Buttons ---

// The command that explains the result at the playhead, in a form that a shell reads.
function explainCommand() {
  const person = chosen(), quoted = (text) => (/^[\w./=,:+-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);
  const t = Math.max(START, Math.floor(state.t / HOP + 1e-6) * HOP);
  const at = `${Math.floor(t / 60)}:${(t % 60).toFixed(2).padStart(5, "0")}`;
  const words = ["affectstream", "explain", report.media ? report.media.name : report.name, "--at", at, "--track", String(person.track ?? 0), ...report.explain, "--output", "why"];
  return words.map(quoted).join(" ");
}
$("explain").addEventListener("click", async () => {
  $("command").hidden = false;
  $("command").textContent = explainCommand();
  try {
    await navigator.clipboard.writeText($("command").textContent);
    $("explain").textContent = "Copied";
  } catch { // not allowed on this page: the command is there to select
    getSelection().selectAllChildren($("command"));
  }
  setTimeout(() => { $("explain").textContent = "Copy explain command"; }, 1500);
});

$("play").addEventListener("click", togglePlay);
$("before").addEventListener("click", () => step(-1));
$("after").addEventListener("click", () => step(1));
$("in").addEventListener("click", () => zoom(0.5));
$("out").addEventListener("click", () => zoom(2));
$("whole").addEventListener("click", () => setView(START, END));
$("person").addEventListener("change", (event) => choose(Number(event.target.value)));
$("speed").addEventListener("change", (event) => { player.playbackRate = Number(event.target.value); });
$("brief").addEventListener("click", () => { state.brief = !state.brief; choose(state.person); });
window.addEventListener("resize", () => { show(); drawPlayhead(); });
window.addEventListener("hashchange", readAddress);

function redraw() {
  for (const chart of charts) if (chart.plot) { chart.plot.destroy(); chart.plot = null; }
  drawLanes();
  drawMoment();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
window.addEventListener("beforeprint", () => { document.documentElement.classList.add("print"); setView(START, END); redraw(); });
window.addEventListener("afterprint", () => { document.documentElement.classList.remove("print"); redraw(); });

$("why").hidden = !people.length;
state.person = Math.max(0, people.findIndex((person) => person.summary.coverage === longest && person.track !== null));
buildHeader();
buildMoment();
buildPeople();
buildPairs();
buildSegments();
buildNotes();
buildMade();
buildLanes();
openPlayer();
drawLanes();
drawMoment();
readAddress();
