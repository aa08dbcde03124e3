"""Pictures of what detection and tracking did; nothing here reads, writes or runs a model."""

from .drawing import draw_tracks
from .sheets import contact_sheet

__all__ = ["contact_sheet", "draw_tracks"]
