// What all pages share: elements, colors, words for reasons, bands of scores and strips.
"use strict";

const $ = (id) => document.getElementById(id);

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The colors of Okabe and Ito, which color-blind people can tell apart.
const COLORS = { neutral: "#9aa3af", anger: "#d55e00", disgust: "#009e73", fear: "#cc79a7", joy: "#e6b800", sadness: "#3b82c4", surprise: "#7fc4ee", contempt: "#8a6d3b" };
const ABSTAIN_REASONS = {
  no_face: "no face in view", tiny_face: "the face is too small", blurred_face: "the face is blurred",
  turned_face: "the face is turned away", no_picture: "no picture", no_speech: "nobody speaks", no_words: "no words",
  language: "another language", low_confidence: "not sure", conflict: "face, voice and words disagree",
};
const EYES_CLOSED = 0.35; // as in stream/faces/tracking/blinks.py

const colorOf = (label) => COLORS[label] || "#888";

const percent = (share) => `${Math.round(100 * share)} %`;

const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A square of one color that takes the size its style gives it.
function colorPatch(color) {
  const holder = document.createElement("template");
  holder.innerHTML = '<svg aria-hidden="true" preserveAspectRatio="none" viewBox="0 0 1 1"><rect width="1" height="1"/></svg>';
  const svg = holder.content.firstChild;
  svg.firstChild.setAttribute("fill", color);
  return svg;
}

// A pen that draws in CSS pixels on an empty canvas.
function fitCanvas(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return pen;
}

// The scores of each point stacked upwards, in the order of `labels`. A point is {from, to, scores, attention}: where
// it begins and ends across, a score for each label or null, and attention from 0 to 1 or null.
function drawBands(pen, top, height, points, labels) {
  for (const { from, to, scores } of points) {
    let at = top + height;
    for (let place = 0; scores && place < labels.length; place += 1) {
      const tall = scores[place] * height;
      pen.fillStyle = colorOf(labels[place]);
      pen.fillRect(from, at - tall, to - from, tall + 0.3);
      at -= tall;
    }
  }
}

// Attention as a strip whose height is the score.
function drawAttention(pen, top, height, points, color) {
  pen.fillStyle = color;
  for (const { from, to, attention } of points) {
    if (attention === null) continue;
    const tall = Math.max(1, attention * height);
    pen.fillRect(from, top + height - tall, to - from, tall);
  }
}
