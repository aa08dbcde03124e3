"""Pictures of what detection and tracking did; nothing here reads, writes or runs a model."""

from .correlation import Match, draw_matches
from .drawing import SMALL_SIDE, draw_boxes, draw_tracks
from .followed import draw_followed
from .sheets import captioned, contact_sheet, fit_width, titled_sheet
from .strips import ROW_TITLES, draw_stages, draw_strips

__all__ = [
    "ROW_TITLES",
    "SMALL_SIDE",
    "Match",
    "captioned",
    "contact_sheet",
    "draw_boxes",
    "draw_followed",
    "draw_matches",
    "draw_stages",
    "draw_strips",
    "draw_tracks",
    "fit_width",
    "titled_sheet",
]
