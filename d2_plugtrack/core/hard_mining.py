"""Online hard example mining (OHEM): which labelled regions an image trains on.

Shape letters: R regions of an image, S of them chosen. Losses are whatever says how hard a region
is; computing them is left to others. No regions, or none labelled, gives no regions.
"""

import torch
from torch import Tensor

IGNORED = -1


def hardest_regions(
    losses: Tensor, labels: Tensor, *, background: int, limit: int, positive_fraction: float
) -> Tensor:
    """The regions of largest loss, positives and negatives apart.

    At most ``limit * positive_fraction``, rounded down, positives are taken; negatives fill up what
    is left of ``limit`` as far as there are any. Equal losses: the lower index first.

    Args:
        losses: (R,).
        labels: (R,) classes: ``background`` negatives, -1 neither, all others positives.
        background: the label of negatives.
        limit: the largest S.
        positive_fraction: of ``limit``.

    Returns:
        (S,) indices: positives, then negatives, the hardest of each first.
    """
    negative = labels == background
    positive = (labels != IGNORED) & ~negative
    chosen = _hardest(losses, positive, int(limit * positive_fraction))
    return torch.cat([chosen, _hardest(losses, negative, limit - len(chosen))])


def _hardest(losses: Tensor, among: Tensor, limit: int) -> Tensor:
    indices = among.nonzero().flatten()
    order = losses[indices].argsort(descending=True, stable=True)
    return indices[order[:limit]]
