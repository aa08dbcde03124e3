"use strict";
// What the other parts work on. What is shown is in `state`; `show()` and its parts draw it, all
// else only changes it. The data's rows are described in page_data.py.

const byId = (id) => document.getElementById(id);

function fail(message) {
  byId("failure").hidden = false;
  byId("failure").textContent = `This page has a fault: ${message}`;
}
addEventListener("error", (event) => fail(event.message));
addEventListener("unhandledrejection", (event) => fail(event.reason));

const data = JSON.parse(byId("data").textContent);
const { frames, tracks, pictures } = data;
const last = Math.max(frames.length - 1, 0);
const state = { frame: 0, track: null, view: "rescored", threshold: data.threshold };

const isRescored = data.settings["TEST.SEQ_NMS.ENABLED"] !== "False";
const NOTES = {
  detector: "What the image detector says of each frame by itself: no identities.",
  tracked:
    "Solid: followed from the frame before. Dashed: newly detected. " +
    (isRescored ? "Grey: dropped by re-scoring." : "Grey: there are no tracks."),
  rescored: isRescored
    ? "Track number and class; the score is the mean of the whole track."
    : "Re-scoring is off (TEST.SEQ_NMS.ENABLED): scores of the frame, and no tracks.",
};

function element(tag, attributes = {}, ...children) {
  const isSvg = ["g", "rect", "text", "line", "path", "circle", "title"].includes(tag);
  const made = isSvg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const trackOf = new Map(tracks.map((track) => [track.id, track])); // numbers may leave some out
const colorOf = (track) => trackOf.get(track)?.color ?? data.no_track_color;
const isShown = (track) => track.score >= state.threshold;
const indexOf = (frame) => frames[frame]?.index ?? 0; // its number in the video
const percent = (frame) => `${(100 * frame) / frames.length}%`;

function readableOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}
