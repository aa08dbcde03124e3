// What is shown when: position, choices, playing, the address, keys.

const viewButtons = document.querySelectorAll("[data-view]");

function show() {
  for (const button of viewButtons)
    button.setAttribute("aria-pressed", button.dataset.view === state.view);
  byId("view-note").textContent = NOTES[state.view];
  showTracks();
  showCurves();
  showPosition();
}

// What changes with the frame alone. The promise is kept when the picture is there.
function showPosition() {
  byId("scrubber").value = state.frame;
  const time = frames.length ? frames[state.frame].time.toFixed(2) : "0.00";
  byId("clock").replaceChildren(
    "frame ", element("b", {}, indexOf(state.frame)),
    element("small", {}, ` of ${indexOf(last)} · ${time} s`));
  byId("playhead").firstElementChild.style.left = percent(state.frame + 0.5);
  showScores();
  return frames.length ? showFrame() : Promise.resolve();
}

function seek(frame) {
  state.frame = clamp(frame, 0, last);
  keepInAddress();
  return showPosition();
}

function choose(track) {
  state.track = track;
  show();
  reveal(track);
  keepInAddress();
}

function chooseNext(step) {
  const shown = tracks.filter(isShown).map((track) => track.id);
  const next = shown[clamp(shown.indexOf(state.track) + step, 0, shown.length - 1)];
  if (next === undefined) return;
  choose(next);
  seek(nearest(trackOf.get(next), state.frame));
}

// ---- playing

let runs = 0; // counts starts and stops, by which an older run knows that it is over
let isPlaying = false;

// Every frame for as long as it lasts, or longer where pictures are slow to come.
async function play(on) {
  const run = ++runs;
  setPlaying(on);
  if (on && state.frame === last) seek(0);
  let due = performance.now();
  while (isPlaying && state.frame < last) {
    due = Math.max(due + 1000 / rate(), performance.now());
    await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    if (run !== runs) return;
    await seek(state.frame + 1);
    if (run !== runs) return;
  }
  setPlaying(false);
}

function setPlaying(on) {
  isPlaying = on;
  byId("play").classList.toggle("playing", on);
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

const rate = () => data.frame_rate * Number(byId("speed").value);

// ---- the address: #frame=12&track=3&view=tracked

let addressTimer = null;

function keepInAddress() {
  clearTimeout(addressTimer); // browsers take few changes a second
  addressTimer = setTimeout(() => {
    const parts = [`frame=${indexOf(state.frame)}`, `track=${state.track ?? ""}`, `view=${state.view}`];
    history.replaceState(null, "", `#${parts.join("&")}`);
  }, 300);
}

function readAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const track = trackOf.get(Number(said.get("track") || -1));
  if (said.get("view") in NOTES) state.view = said.get("view");
  if (track) {
    state.track = track.id;
    state.threshold = Math.min(state.threshold, track.score);
    byId("threshold").value = state.threshold;
  }
  const index = Number.parseInt(said.get("frame"), 10) || 0;
  const after = frames.findIndex((frame) => frame.index >= index);
  state.frame = after < 0 ? last : after;
  show();
  if (track) reveal(track.id);
}

// ---- beginning

function describe() {
  byId("name").textContent = data.name;
  for (const [what, value] of Object.entries(data.facts))
    byId("facts").append(element("li", {}, `${what} `, element("b", {}, value)));
  for (const [key, value] of Object.entries(data.settings))
    byId("setting-list").append(element("dt", {}, key), element("dd", {}, value));
  byId("rows").append(...tracks.map(makeRow));
  byId("rows").append(element("p", { class: "empty", id: "no-tracks" }, "No track scores as much."));
  if (!tracks.length) byId("no-tracks").textContent = "No track in this video.";
  Object.assign(byId("threshold"), { min: data.lowest, value: state.threshold });
  byId("scrubber").max = last;
  byId("scrubber").disabled = byId("play").disabled = last === 0;
  byId("no-frames").hidden = frames.length > 0;
  if (!frames.length) return;
  byId("screen").style.setProperty("--aspect", `${frames[0].width} / ${frames[0].height}`);
  byId("screen").style.setProperty("--ratio", frames[0].width / frames[0].height);
}

const KEYS = {
  ArrowLeft: () => seek(state.frame - 1),
  ArrowRight: () => seek(state.frame + 1),
  Home: () => seek(0),
  End: () => seek(last),
  ArrowUp: () => chooseNext(-1),
  ArrowDown: () => chooseNext(1),
  " ": () => last && play(!isPlaying),
};

function listen() {
  byId("scrubber").addEventListener("input", (event) => seek(Number(event.target.value)));
  byId("play").addEventListener("click", () => play(!isPlaying));
  byId("threshold").addEventListener("input", (event) => {
    state.threshold = Number(event.target.value);
    show();
  });
  for (const button of viewButtons)
    button.addEventListener("click", () => setView(button.dataset.view));
  byId("curves").addEventListener("click", (event) => seek(frameAt(event, byId("curves"))));
  addEventListener("keydown", pressed);
  addEventListener("hashchange", readAddress);
  new ResizeObserver(() => frames.length && showBoxes()).observe(byId("screen"));
  new ResizeObserver(showCurves).observe(byId("curves"));
}

function setView(view) {
  state.view = view;
  show();
  keepInAddress();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const hasOwnUse =
    event.target.matches("select, #threshold") ||
    (event.key === " " && event.target.matches("button, summary"));
  const view = Object.keys(NOTES)[Number(event.key) - 1];
  if (view) setView(view);
  else if (KEYS[event.key] && !hasOwnUse) {
    event.preventDefault();
    KEYS[event.key]();
  }
}

describe();
listen();
readAddress();
