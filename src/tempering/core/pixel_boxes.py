"""The least and largest value that a threat leaves each pixel."""

from __future__ import annotations

from torch import Tensor

from tempering.core.errors import ThreatError
from tempering.core.patches import Patch
from tempering.core.threats import L0, Threat


def pixel_box(threat: Threat, x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest box that holds all that a threat allows.

    In L-inf the threat allows all of it; in other norms less. `Transform.box_after` says what is
    left of the box behind a transform: behind a hard threshold most pixels are decided.

    Args:
        threat: A ball of a built-in norm, or a patch.
        x: Images in [0, 1], shape (n, c, h, w).

    Returns:
        Least and largest values, shape of x.

    Raises:
        ThreatError: If the threat is of another kind.

    Example:
        >>> import torch
        >>> from tempering.core.threats import Linf
        >>> low, high = pixel_box(Linf(0.25), torch.tensor([[[[0.0, 0.5]]]]))
        >>> low.flatten().tolist(), high.flatten().tolist()
        ([0.0, 0.25], [0.25, 0.75])
    """
    if type(threat) is Patch:
        height, width = x.shape[2:]
        places = x.new_tensor(threat.places(height, width)).long().reshape(-1, 2)
        reached = threat.windows(places[:, 0], places[:, 1], height, width).any(0, keepdim=True)
        return x.masked_fill(reached, 0.0), x.masked_fill(reached, 1.0)
    if not threat.built_in:
        raise ThreatError(f"threat {threat} has no box: give a built-in norm or a patch")
    whole = isinstance(threat, L0) and threat.eps >= 1
    reach = 1.0 if whole else 0.0 if isinstance(threat, L0) else threat.eps
    return (x - reach).clamp_min(0.0), (x + reach).clamp_max(1.0)
