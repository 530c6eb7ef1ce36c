// Reads the data of the report: series of one byte a hop, for each person.
"use strict";

const report = JSON.parse($("data").textContent);
const HOP = report.hop, LABELS = report.labels, START = report.start, END = Math.max(report.end, report.start + report.hop);
const MISSING = 255, ABSTAINS = 128, SPEAKS = 8;

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

const people = report.people.map((person) => {
  const series = {};
  for (const [name, [low, high, text]] of Object.entries(person.series)) {
    series[name] = { data: bytes(text), low, step: (high - low) / 254 };
  }
  return { ...person, series, title: person.name[0].toUpperCase() + person.name.slice(1) };
});

// The value of a series at a place of its person; null if it is missing.
function value(person, name, place) {
  const series = person.series[name];
  const byte = series ? series.data[place] : MISSING;
  return byte === undefined || byte === MISSING ? null : series.low + byte * series.step;
}

// The place of a time in the series of a person; null where they have no reading.
function placeOf(person, t) {
  const place = Math.floor(t / HOP + 1e-6) - person.first;
  return place >= 0 && place < person.count && person.series.used.data[place] !== MISSING ? place : null;
}

const scoresAt = (person, place) => {
  const scores = LABELS.map((label) => value(person, `score ${label}`, place));
  return scores.length && scores[0] !== null ? scores : null;
};

function readingAt(person, place) {
  const used = person.series.used.data[place], verdict = person.series.verdict.data[place];
  const scores = scoresAt(person, place);
  return {
    scores,
    label: verdict < ABSTAINS ? LABELS[verdict] : null,
    confidence: scores && Math.max(...scores),
    abstain: verdict >= ABSTAINS && verdict !== MISSING ? report.reasons[verdict - ABSTAINS] : null,
    attention: value(person, "attention", place),
    state: [null, ...report.states][used >> 4],
    speaks: Boolean(used & SPEAKS),
    used: report.modalities.filter((_, bit) => used & (1 << bit)),
    valence: value(person, "valence", place), arousal: value(person, "arousal", place),
    yaw: value(person, "yaw", place), pitch: value(person, "pitch", place),
    eyes: value(person, "eyes_open", place), quality: value(person, "quality", place),
  };
}

const MODALITY_NAMES = { video: "face", voice: "voice", text: "words" };

const hasSeries = (name) => people.some((person) => person.series[name]);

// 3:05, 1:02:03; with tenths where `fine`.
function clock(t, fine) {
  const tenths = Math.round(Math.max(0, t) * 10), seconds = Math.floor(tenths / 10);
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  const text = hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
  return fine ? `${text}.${tenths % 10}` : text;
}

function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  if (minutes < 10) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const signed = (number) => (number === null ? "–" : `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`);
const nameOf = (track) => (people.find((person) => person.track === track) || { title: "Recording" }).title;

// The first of sorted `rows` whose `key` is above `t`.
function firstAfter(rows, t, key) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(rows[middle]) > t) high = middle;
    else low = middle + 1;
  }
  return low;
}
