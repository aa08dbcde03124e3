// The picture of a frame and its boxes.

const LABEL_HEIGHT = 18;
const DETECTOR_COLOR = "#f1f3f5"; // of boxes that have no identity and are not dropped either
const AHEAD = 4; // pictures that are decoded before they are needed

const decoded = new Map(); // frame to image, the latest ones

function imageOf(frame) {
  if (!decoded.has(frame)) {
    const image = new Image();
    image.src = pictures[frame];
    decoded.set(frame, image);
    if (decoded.size > 4 * AHEAD) decoded.delete(decoded.keys().next().value);
  }
  return decoded.get(frame);
}

let shown = null; // the frame on the screen

// The picture and its boxes change together, when the picture is there.
async function showFrame() {
  const wanted = state.frame;
  if (wanted === shown) return showBoxes();
  const image = imageOf(wanted);
  await image.decode();
  if (state.frame !== wanted) return;
  const canvas = byId("picture");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  showBoxes();
  shown = wanted;
  document.body.dataset.frame = indexOf(wanted);
  for (let ahead = 1; ahead <= AHEAD; ahead++) if (wanted + ahead <= last) imageOf(wanted + ahead);
}

// Where the frame lies on the screen: frames of other proportions than the first get a margin.
function place(frame) {
  const screen = byId("screen");
  const scale = Math.min(screen.clientWidth / frame.width, screen.clientHeight / frame.height);
  const [width, height] = [frame.width * scale, frame.height * scale];
  const [left, top] = [(screen.clientWidth - width) / 2, (screen.clientHeight - height) / 2];
  return { scale, left, top, width, height };
}

function showBoxes() {
  const frame = frames[state.frame];
  const where = place(frame);
  const canvas = byId("picture");
  for (const side of ["left", "top", "width", "height"]) canvas.style[side] = `${where[side]}px`;
  canvas.style.imageRendering = where.width >= 1.5 * canvas.width ? "pixelated" : "auto";
  const boxes = frame[state.view]
    .map((row) => readRow(row, where))
    .filter((box) => box.score >= state.threshold)
    .sort((a, b) => b.score - a.score);
  const taken = [];
  const drawn = boxes.map((box) => drawBox(box, taken));
  byId("boxes").replaceChildren(...drawn.reverse()); // the best on top
}

function readRow([x1, y1, x2, y2, label, score, track = -1, followed = 1], where) {
  const [left, top] = [where.left + x1 * where.scale, where.top + y1 * where.scale];
  const size = { width: (x2 - x1) * where.scale, height: (y2 - y1) * where.scale };
  const hasNumber = state.view === "rescored" && track >= 0;
  const text = `${hasNumber ? `${track} ` : ""}${data.classes[label]} ${score.toFixed(2)}`;
  return { left, top, ...size, score, track, followed, text };
}

function drawBox(box, taken) {
  const color = state.view === "detector" ? DETECTOR_COLOR : colorOf(box.track);
  const label = placeLabel(box, taken);
  const { left: x, top: y, width, height } = box;
  const group = element(
    "g",
    { "data-track": box.track, class: box.track >= 0 && box.track === state.track ? "chosen" : "" },
    element("title", {}, box.text),
    element("rect", { x, y, width, height, class: "halo" }),
    element("rect", { x, y, width, height, stroke: color, class: box.followed ? "outline" : "outline new" }),
    element("rect", { ...label, rx: 3, fill: color }),
    element("text", { x: label.x + 5, y: label.y + 13, fill: readableOn(color) }, box.text),
  );
  group.addEventListener("click", () => box.track >= 0 && choose(box.track));
  return group;
}

const ruler = document.createElement("canvas").getContext("2d");
ruler.font = "600 12px system-ui, sans-serif";

// Above the box, or else below, or inside: where it is on the screen and covers no other label.
function placeLabel(box, taken) {
  const screen = byId("screen");
  const width = ruler.measureText(box.text).width + 10;
  const x = clamp(box.left - 1, 0, Math.max(0, screen.clientWidth - width));
  const bottom = screen.clientHeight - LABEL_HEIGHT;
  const heights = [
    box.top - LABEL_HEIGHT,
    box.top + box.height,
    box.top,
    box.top - 2 * LABEL_HEIGHT,
    box.top + box.height + LABEL_HEIGHT,
  ];
  const free = (y) =>
    y >= 0 && y <= bottom &&
    taken.every((t) => x + width <= t.x || t.x + t.width <= x || Math.abs(y - t.y) >= LABEL_HEIGHT);
  const label = { x, y: heights.find(free) ?? clamp(heights[0], 0, bottom), width, height: LABEL_HEIGHT };
  taken.push(label);
  return label;
}
