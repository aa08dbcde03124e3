"""Pictures of what detection and tracking did; nothing here reads, writes or runs a model."""

from .drawing import draw_boxes, draw_tracks
from .sheets import contact_sheet, fit_width, titled_sheet
from .strips import draw_stages, draw_strips

__all__ = [
    "contact_sheet",
    "draw_boxes",
    "draw_stages",
    "draw_strips",
    "draw_tracks",
    "fit_width",
    "titled_sheet",
]
