// Where the playhead is, the player, and what is chosen. `show` redraws what depends on them.
"use strict";

const player = $("player");
const state = {
  t: START, // the playhead
  from: START, to: END, // what the timeline shows
  person: 0, // place in `people`
  brief: false, // whether brief appearances are shown
  hasPlayer: false,
};

const BRIEF_S = 3;
const longest = Math.max(0, ...people.map((person) => person.summary.coverage));
const isBrief = (person) =>
  person.count * HOP < BRIEF_S && person.summary.coverage < longest / 4 && people.length > 2;
const shownPeople = () => people.filter((person) => state.brief || !isBrief(person));
const chosen = () => people[state.person];

let pending = 0;
function show() {
  if (pending) return;
  pending = requestAnimationFrame(() => {
    pending = 0;
    drawLanes();
    drawMoment();
  });
}

function seek(t, { follow = true } = {}) {
  state.t = Math.min(Math.max(t, START), Math.max(START, END - 0.001));
  if (state.hasPlayer) player.currentTime = state.t;
  if (follow) keepInView();
  drawMoment();
}

// Moves the timeline if the playhead has left it.
function keepInView() {
  const span = state.to - state.from;
  if (state.t < state.from || state.t > state.to) setView(state.t - span * 0.1, state.t + span * 0.9);
}

function setView(from, to) {
  const span = Math.min(END - START, Math.max(to - from, Math.min(END - START, 8 * HOP)));
  state.from = Math.min(Math.max(START, from), END - span);
  state.to = state.from + span;
  show();
}

function zoom(factor, around = state.t) {
  if (around < state.from || around > state.to) around = (state.from + state.to) / 2;
  setView(around - (around - state.from) * factor, around + (state.to - around) * factor);
}

function choose(place) {
  if (!people[place]) return;
  state.person = place;
  buildLanes();
  drawMoment();
  show();
}

function step(direction) {
  const rows = report.segments.filter((segment) => segment[0] === chosen().track && segment[1] === "emotion");
  const starts = (rows.length ? rows : report.segments).map((segment) => segment[3]);
  const next = direction > 0 ? starts.find((t) => t > state.t + 0.01) : starts.findLast((t) => t < state.t - 0.5);
  if (next !== undefined) seek(next);
}

function togglePlay() {
  if (!state.hasPlayer) return;
  if (player.paused) player.play().catch(() => {});
  else player.pause();
}

function noPlayer(text) {
  state.hasPlayer = false;
  player.hidden = true;
  $("empty").hidden = false;
  $("empty").textContent = text;
  $("frame").hidden = false;
  $("frame").classList.add("none");
  $("play").disabled = true;
}

function openPlayer() {
  const media = report.media;
  if (!media || !media.source) {
    noPlayer("The recording is not beside this report. The timeline works without it.");
    return;
  }
  $("frame").hidden = media.kind === "audio"; // there is nothing to see; the buttons play it
  player.addEventListener("loadedmetadata", () => {
    state.hasPlayer = true;
    $("play").disabled = false;
    if (player.videoWidth) $("frame").style.aspectRatio = Math.max(1, player.videoWidth / player.videoHeight);
    else if (!report.used.includes("video")) $("frame").hidden = true; // sound alone in a file that could hold pictures
    else {
      $("empty").hidden = false;
      $("empty").textContent = `This browser cannot show the pictures of ${media.name}; it plays the sound.`;
    }
    if (state.t > 0) player.currentTime = state.t;
  });
  player.addEventListener("error", () => noPlayer(
    `This browser cannot play ${media.name}: it was moved, or its format is unknown here. The timeline works without it.`));
  player.addEventListener("play", () => { follow(); $("play").lastChild.textContent = " Pause"; $("play").firstChild.textContent = "❚❚"; });
  player.addEventListener("pause", () => { $("play").lastChild.textContent = " Play"; $("play").firstChild.textContent = "▶"; });
  player.addEventListener("seeked", () => {
    if (Math.abs(player.currentTime - state.t) > 0.02) { state.t = player.currentTime; keepInView(); }
    drawMoment();
  });
  $("play").disabled = true;
  player.src = media.source;
}

function follow() {
  if (player.paused) return;
  state.t = Math.min(Math.max(player.currentTime, START), END);
  keepInView();
  drawMoment();
  requestAnimationFrame(follow);
}

// #t=12.5&person=2 opens the report at a time, with a person (0: the recording itself).
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("person")) {
    const track = Number(asked.get("person")) || null;
    const place = people.findIndex((person) => person.track === track);
    if (place >= 0) choose(place);
  }
  const t = parseFloat(asked.get("t"));
  if (Number.isFinite(t)) {
    if (END - START > 300) setView(t - 60, t + 120);
    seek(t);
  }
}
