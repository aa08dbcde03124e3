"""The re-scorer of a mode: offline over the whole video, or online, frame by frame."""

from .online_rescorer import OnlineRescorer
from .rescorer import Rescorer
from .rescoring import Rescoring
from .spool import Spooling
from .video_rescorer import VideoRescorer


def build_rescorer(rescoring: Rescoring, spooling: Spooling | None) -> Rescorer:
    """The one that ``rescoring.online`` says.

    Args:
        spooling: when and where frames that wait for the end of their video go to disk; None keeps
            them in memory. Online none waits.
    """
    if rescoring.online:
        return OnlineRescorer(rescoring)
    return VideoRescorer(rescoring, spooling)
