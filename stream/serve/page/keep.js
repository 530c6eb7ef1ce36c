// Keeps the results when the page is reloaded: in this tab only, until it is closed or started again.
// Whole chunks of events are compressed as they come, because a tab may store only 5 million characters; the
// newest events are stored as they are when the page goes away.
"use strict";

const CHUNK_EVENTS = 500;

let packed = 0; // events that are in stored chunks
let packing = false;
let firstChunk = 0, nextChunk = 0; // the oldest chunk that is left, and the next to be written

async function through(data, transform) {
  return new Response(new Blob([data]).stream().pipeThrough(transform)).arrayBuffer();
}

async function pack(lines) {
  const bytes = new Uint8Array(await through(lines.join("\n"), new CompressionStream("gzip")));
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new TextDecoder().decode(await through(bytes, new DecompressionStream("gzip"))).split("\n");
}

// Drops the oldest chunks if there is no room. Returns false if there is none at all.
function store(key, text) {
  for (;;) {
    try {
      sessionStorage.setItem(key, text);
      return true;
    } catch { // full, or blocked by the browser
      if (firstChunk === nextChunk) return false;
      sessionStorage.removeItem(`chunk-${firstChunk}`);
      firstChunk += 1;
    }
  }
}

// Called with each event.
async function keepEvents() {
  if (packing || events.length < packed + CHUNK_EVENTS || !window.CompressionStream) return;
  packing = true;
  const mine = run;
  const text = await pack(events.slice(packed, packed + CHUNK_EVENTS));
  packing = false;
  if (mine !== run || !store(`chunk-${nextChunk}`, text)) return;
  nextChunk += 1;
  packed += CHUNK_EVENTS;
}

function keepRest() {
  if (!events.length) return;
  const rest = () => JSON.stringify({ firstChunk, nextChunk, events: events.slice(packed), personOf: [...personOf] });
  if (store("rest", rest())) store("rest", rest()); // again, because the first may have dropped chunks
}

function forgetEvents() {
  packed = firstChunk = nextChunk = 0;
  try {
    sessionStorage.clear();
  } catch {} // blocked by the browser
}

// The results from before the page was reloaded, if there are any.
async function restoreEvents() {
  let found = null;
  try {
    found = JSON.parse(sessionStorage.getItem("rest"));
  } catch {} // blocked by the browser
  if (!found) return;
  const lines = [];
  for (let chunk = found.firstChunk; chunk < found.nextChunk; chunk += 1) {
    lines.push(...(await unpack(sessionStorage.getItem(`chunk-${chunk}`))));
  }
  if (run > 0) return; // started meanwhile
  ({ firstChunk, nextChunk } = found);
  packed = lines.length;
  personOf = new Map(found.personOf);
  for (const line of [...lines, ...found.events]) addEvent(line, JSON.parse(line));
  showNote("These results are from before the page was reloaded. Start replaces them.");
}

window.addEventListener("pagehide", keepRest);
