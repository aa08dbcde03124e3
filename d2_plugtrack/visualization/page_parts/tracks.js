// The tracks of the video, and the scores of the one that is selected.

const CHART = { top: 14, bottom: 20 }; // room above and below the curves

// Runs of consecutive frames, [first, last].
function runsOf(places) {
  const runs = [];
  for (const place of places) {
    if (runs.length && runs.at(-1)[1] === place - 1) runs.at(-1)[1] = place;
    else runs.push([place, place]);
  }
  return runs;
}

function makeRow(track) {
  const [first, end] = [track.frames[0], track.frames.at(-1)];
  const bar = (from, to, name) =>
    element("i", { class: name, style: `left:${percent(from)};width:${percent(to - from + 1)}` });
  const lane = element("span", { class: "lane" }, bar(first, end, "gap"));
  lane.append(...runsOf(track.frames).map(([from, to]) => bar(from, to, "run")));
  const name = element("span", { class: "name" }, element("i"), element("b", {}, track.id));
  name.append(element("span", {}, data.classes[track.class]));
  const row = element("div", { class: "row", role: "option", id: `track-${track.id}` }, name, lane);
  row.style.setProperty("--track", colorOf(track.id));
  row.title =
    `${track.id} ${data.classes[track.class]}: frames ${indexOf(first)} to ${indexOf(end)}, ` +
    `score ${track.score.toFixed(2)}`;
  row.addEventListener("click", (event) => {
    choose(track.id);
    seek(lane.contains(event.target) ? nearest(track, frameAt(event, lane)) : first);
  });
  return row;
}

function frameAt(event, lane) {
  const { left, width } = lane.getBoundingClientRect();
  return clamp(Math.floor(((event.clientX - left) / width) * frames.length), 0, last);
}

const nearest = (track, frame) =>
  track.frames.reduce((a, b) => (Math.abs(b - frame) < Math.abs(a - frame) ? b : a));

function showTracks() {
  const shown = tracks.filter(isShown);
  if (!shown.some((track) => track.id === state.track)) state.track = shown[0]?.id ?? null;
  for (const track of tracks) {
    const row = byId(`track-${track.id}`);
    row.hidden = !isShown(track);
    row.setAttribute("aria-selected", track.id === state.track);
  }
  byId("rows").setAttribute("aria-activedescendant", shown.length ? `track-${state.track}` : "");
  byId("no-tracks").hidden = shown.length > 0;
  const of = shown.length < tracks.length ? ` of ${tracks.length}` : "";
  byId("count").textContent = `${shown.length}${of} ${tracks.length === 1 ? "track" : "tracks"}`;
  byId("threshold-value").textContent = state.threshold.toFixed(2);
}

// Scroll the list, and nothing else, to a track; the curves cover the top of it.
function reveal(track) {
  const [list, row] = [byId("scroller"), byId(`track-${track}`)];
  const above = row.offsetTop - byId("chart").offsetHeight - list.scrollTop;
  const room = list.clientHeight - byId("chart").offsetHeight - row.offsetHeight;
  if (above < 0) list.scrollTop += above;
  else if (above > room) list.scrollTop += above - room;
}

function showCurves() {
  const svg = byId("curves");
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const x = (frame) => ((frame + 0.5) / frames.length) * width;
  const y = (score) => CHART.top + (1 - score) * (height - CHART.top - CHART.bottom);
  const parts = [0, 0.5, 1].flatMap((score) => [
    element("line", { class: "grid", x1: 0, x2: width, y1: y(score), y2: y(score) }),
    element("text", { x: -5, y: y(score) + 4, "text-anchor": "end" }, String(score)),
  ]);
  parts.push(element("text", { x: 0, y: height - 5 }, `frame ${indexOf(0)}`));
  parts.push(element("text", { x: width, y: height - 5, "text-anchor": "end" }, String(indexOf(last))));
  const track = trackOf.get(state.track);
  if (track) parts.push(...curvesOf(track, x, y));
  svg.replaceChildren(...parts);
}

function curvesOf(track, x, y) {
  const at = new Map(track.frames.map((frame, i) => [frame, i]));
  const pathOf = (scores) =>
    runsOf(track.frames)
      .map(([first, end]) => {
        const points = [];
        for (let frame = first; frame <= end; frame++)
          points.push(`${x(frame).toFixed(1)} ${y(scores[at.get(frame)]).toFixed(1)}`);
        return `M${points.join("L")}${first === end ? "h.01" : ""}`;
      })
      .join("");
  const dots = track.frames.length > 200 ? [] : track.frames; // more would be a line by themselves
  return [
    element("path", { class: "after", d: pathOf(track.after), stroke: colorOf(track.id) }),
    element("path", { class: "before", d: pathOf(track.before) }),
    ...dots.map((frame, i) =>
      element("circle", { class: "dot", cx: x(frame), cy: y(track.before[i]), r: 2 })),
  ];
}

function showScores() {
  const track = trackOf.get(state.track);
  const key = byId("chart-key");
  const at = track ? track.frames.indexOf(state.frame) : -1;
  byId("chart-name").textContent = track ? `${track.id} ${data.classes[track.class]}` : "no track";
  byId("before-value").textContent = at < 0 ? "–" : track.before[at].toFixed(2);
  byId("after-value").textContent = at < 0 ? "–" : track.after[at].toFixed(2);
  key.style.setProperty("--track", track ? colorOf(track.id) : "");
}
