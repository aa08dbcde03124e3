"""The page is one file that a browser can open, whatever names are in it, and it works there."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2_plugtrack.visualization import page
from d2_plugtrack.visualization.page import encode_picture, page_html, shrink
from d2_plugtrack.visualization.page_data import page_data
from tests.visualization.stage_examples import CLASSES, example

EVIL = """</script><script>fail("evil")</script><!-- put data here --> "it's" \u2028 & ü"""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def page_of(stages, class_names=CLASSES, name="clip", **settings):
    data = page_data(stages, [stage.index / 25 for stage in stages], class_names, 0.3)
    pictures = [encode_picture(stage.image, 640) for stage in stages]
    return page_html(
        name, {"frames": "3"}, {"TEST.TFD.TRACK": "True", **settings}, 25, data, pictures
    )


def data_in(text):
    """The data of a page, found as a browser finds it: up to the first end of the script."""
    start = '<script id="data" type="application/json">'
    return json.loads(text.split(start)[1].split("</script")[0])


class Outline(HTMLParser):
    """Elements of a page, and all that it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]


# ---- pictures ------------------------------------------------------------------------------------


def decoded(address):
    prefix = "data:image/jpeg;base64,"
    assert address.startswith(prefix)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix(prefix)))))


def test_wide_pictures_are_shrunk_and_small_ones_stay():
    wide, small = np.zeros((30, 100, 3), np.uint8), np.zeros((30, 64, 3), np.uint8)
    assert shrink(wide, 64).shape == (19, 64, 3)  # 30 * 64 / 100 = 19.2
    assert shrink(small, 64) is small
    assert shrink(np.zeros((1, 100, 3), np.uint8), 10).shape == (1, 10, 3)
    assert decoded(encode_picture(wide, 64)).shape == (19, 64, 3)


def test_pictures_keep_their_colors():
    orange = np.full((16, 16, 3), (20, 120, 230), np.uint8)  # BGR
    rgb = decoded(encode_picture(orange, 640)).reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(rgb, (230, 120, 20), atol=4)


# ---- the file ------------------------------------------------------------------------------------


def test_everything_is_in_the_file():
    text = page_of(example())
    assert Outline(text).addresses == []
    assert not re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "put " + "data here" not in text and text.count("<canvas") == 1


def test_data_comes_back():
    found = data_in(page_of(example()))
    assert found["classes"] == CLASSES and found["frame_rate"] == 25
    assert [track["score"] for track in found["tracks"]] == [0.6, 0.8, 0.2]
    assert [decoded(address).shape for address in found["pictures"]] == [(48, 64, 3)] * 3


def test_names_do_no_harm():
    harmless, text = page_of(example()), page_of(example(), [EVIL, "bus"], name=EVIL)
    assert Outline(text).tags == Outline(harmless).tags
    assert data_in(text)["classes"] == [EVIL, "bus"] and data_in(text)["name"] == EVIL
    (title,) = re.findall("<title>(.*)</title>", text)
    assert html.unescape(title) == EVIL


def test_no_frames_are_a_page_as_well():
    found = data_in(page_of([]))
    assert found["frames"] == found["tracks"] == found["pictures"] == []


def test_what_does_not_fit_is_refused():
    data = page_data(example(), [0, 1, 2], CLASSES, 0.3)
    with pytest.raises(ValueError, match="expected 3 pictures, found 1"):
        page_html("clip", {}, {}, 25, data, [""])
    with pytest.raises(ValueError, match="JSON"):
        page_html("clip", {}, {}, float("nan"), data, [""] * 3)


def test_its_parts_are_shipped():
    parts = Path(page.__file__).with_name("page_parts")
    assert {path.name for path in parts.iterdir()} == {"page.html", "page.css", *page.SCRIPTS}


# ---- in a browser --------------------------------------------------------------------------------


LOOK = """<script>
const look = () => ({
  failure: byId("failure").textContent,
  frame: document.body.dataset.frame,
  clock: byId("clock").textContent,
  note: byId("view-note").textContent,
  boxes: [...document.querySelectorAll("#boxes title")].map((title) => title.textContent),
  rows: [...document.querySelectorAll(".row")].filter((r) => r.offsetHeight).map((r) => r.title),
  chosen: [...document.querySelectorAll("[aria-selected=true]")].map((row) => row.id),
  curves: document.querySelectorAll("#curves path").length,
});
const press = (key) =>
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
// The browser's clock runs ahead of the machine here; pictures are decoded by the machine's.
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
const settled = () => !frames.length || shown === state.frame;
const settle = async () => {
  for (let tries = 0; tries < 300 && !settled(); tries++) {
    for (let spin = 0; spin < 200000; spin++) Math.random();
    await pause(5);
  }
};
const steps = [STEPS];
(async () => {
  const seen = [];
  for (const step of steps) {
    step();
    await pause(300);
    await settle();
    seen.push(look());
  }
  document.body.append(element("pre", {}, JSON.stringify(seen)));
})();
</script></body>"""


def seen_in_browser(tmp_path, text, address, *steps):
    """What is to be seen after each of the steps (JavaScript), the page being opened before."""
    path = tmp_path / "page.html"
    script = LOOK.replace("STEPS", ", ".join(f"() => {{ {step} }}" for step in steps))
    path.write_text(text.replace("</body>", script), encoding="utf-8")
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *("--window-size=1280,800", f"--virtual-time-budget={1000 + 2000 * len(steps)}"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"{path.as_uri()}{address}"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    (seen,) = re.findall("<pre>(.*)</pre>", result.stdout) or pytest.fail(result.stderr[-2000:])
    return json.loads(html.unescape(seen))


@pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
def test_it_works_in_a_browser(tmp_path):
    text = page_of(example(), [EVIL, "bus"], EVIL)
    seen = seen_in_browser(
        *(tmp_path, text, "#frame=1"),
        *("", "location.hash = '#frame=2&track=1'", "press('1')", "press('Home')", "press('2')"),
        *("press('3'); location.hash = '#frame=1&track=3'", "press(' ')"),
    )
    assert {look["failure"] for look in seen} == {""}
    opened, moved, detector, home, tracked, weak, played = seen
    assert (opened["frame"], opened["clock"]) == ("1", "frame 1 of 2 · 0.04 s")
    assert opened["note"].endswith("the score is the mean of the whole track.")
    assert opened["boxes"] == [f"0 {EVIL} 0.60"]  # the other one's 0.20 is below 0.3
    assert opened["rows"] == [
        f"0 {EVIL}: frames 0 to 2, score 0.60",
        "1 bus: frames 2 to 2, score 0.80",
    ]
    assert (opened["chosen"], opened["curves"]) == (["track-0"], 2)
    assert (moved["frame"], moved["chosen"]) == ("2", ["track-1"])
    assert moved["boxes"] == [f"0 {EVIL} 0.60", "1 bus 0.80"]  # the best on top
    assert (detector["frame"], detector["boxes"]) == ("2", [])
    assert (home["frame"], home["boxes"]) == ("0", ["bus 0.31", f"{EVIL} 0.90"])
    assert tracked["boxes"] == [f"{EVIL} 0.90"]
    # a track of the address is shown, however little it scores
    assert (weak["frame"], weak["chosen"], len(weak["rows"])) == ("1", ["track-3"], 3)
    assert played["frame"] == "2"


@pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
def test_a_page_of_nothing_works_in_a_browser(tmp_path):
    text = page_of([], **{"TEST.SEQ_NMS.ENABLED": "False"})
    (seen,) = seen_in_browser(tmp_path, text, "#frame=5&track=1", "press('ArrowRight')")
    assert (seen["failure"], seen["boxes"], seen["rows"]) == ("", [], [])
    assert seen["clock"] == "frame 0 of 0 · 0.00 s"
    assert seen["note"].startswith("Re-scoring is off")
