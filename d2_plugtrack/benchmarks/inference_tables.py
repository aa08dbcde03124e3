"""The figures of ``inference.py`` as the paper lays them out in Tables 3, 4 and 5, beside its own.

The paper's are of a Titan X (Pascal) and its light model where it does not say otherwise.
"""

from statistics import median
from typing import Any

PAPER_MS = {"backbone": 43, "RPN": 10, "R-CNN": 7, "tracker": 3}
PAPER_GB = {"detector": 1.59, "with tracker": 1.65}
PAPER_RATES = {  # frames a second of the light and of the heavy model
    "detector": ("15", "6.9"),
    "+ TFD": ("12 (0.80)", ""),
    "+ TFD + Seq-NMS": ("11 (0.73)", ""),
    "+ TFD + Seq-Track-NMS": ("", "5.6 (0.81)"),
}


def as_markdown(figures: dict[str, Any]) -> str:
    """All three, and what they are of."""
    height, width = figures["size"]
    forced = figures["boxes"]
    boxes = "weights as given" if forced is None else f"random weights, {forced} boxes a frame"
    return "\n".join(
        [
            f"{figures['config_file']} {' '.join(figures['opts'])}".strip(),
            f"{figures['device']}, {figures['threads']} threads, TF32 allowed where there is any; "
            f"{figures['frames']} frames of {height}x{width}, {boxes}; "
            f"{figures['rounds']} rounds, median (range)",
            "",
            *_components(figures),
            "",
            *_memory(figures["memory"]),
            "",
            *_rates(figures),
        ]
    )


def tracker_share(milliseconds: dict[str, list[float]]) -> float:
    """Time of the tracker over that of the detector: backbone, RPN and R-CNN."""
    detector = sum(median(milliseconds[name]) for name in ("backbone", "RPN", "R-CNN"))
    return median(milliseconds["tracker"]) / detector


def _components(figures: dict[str, Any]) -> list[str]:
    components = figures["milliseconds"]
    rows = [
        f"| {name} | {PAPER_MS.get(name, '')} | {_spread(values, 1)} |"
        for name, values in components.items()
    ]
    share, paper = tracker_share(components), PAPER_MS["tracker"] / 60
    return [
        "| component, frame by frame | paper, ms | ms a frame |",
        "|---|---:|---:|",
        *rows,
        f"| tracker over backbone + RPN + R-CNN | {paper:.1%} | {share:.1%} |",
    ]


def _memory(memory: dict[str, float]) -> list[str]:
    without, with_tracker = memory["detector_mb"], memory["with_tracker_mb"]
    more, paper = with_tracker / without - 1, PAPER_GB["with tracker"] / PAPER_GB["detector"] - 1
    return [
        f"| {memory['of']} | paper, GB | GB |",
        "|---|---:|---:|",
        f"| detector | {PAPER_GB['detector']} | {without / 1e3:.2f} |",
        f"| with tracker | {PAPER_GB['with tracker']} | {with_tracker / 1e3:.2f} |",
        f"| more | {paper:+.1%} | {more:+.1%} |",
        f"| kept from one frame to the next | | {memory['kept_mb'] / 1e3:.4f} |",
        "",
        "The detector is untouched by TEST.SPEED, here and below.",
    ]


def _rates(figures: dict[str, Any]) -> list[str]:
    rates, baseline = figures["frames_per_second"], figures["baseline"]
    offline = f"batches of {figures['batch_size']}"
    head = f"| frames a second | paper, light | paper, heavy | frame by frame | {offline} |"
    rows = [head, "|---|---:|---:|---:|---:|"]
    for name, by_mode in rates.items():
        light, heavy = PAPER_RATES.get(name, ("", ""))
        shown = [_rate(values, rates["detector"]["streaming"]) for values in by_mode.values()]
        rows.append(f"| {name} | {light} | {heavy} | {' | '.join(shown)} |")
    note = f"In brackets, over the detector frame by frame ({baseline}) in the same round."
    return [*rows, "", note]


def _rate(values: list[float], detector: list[float]) -> str:
    ratios = [ours / its for ours, its in zip(values, detector, strict=True)]
    spread = f"{median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
    return f"{median(values):.3g} ({spread})"


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{middle} ({low} to {high})"
