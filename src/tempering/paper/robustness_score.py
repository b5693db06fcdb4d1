"""The paper's robustness score rho (eq. 6), and the stop rule based on it.

rho is accuracy after hardening minus accuracy before it. It measures a gain, not a level: a
weak undefended model makes it large. `Round.gain` and `Summary.gain` have the
key `rho` in JSON.
"""

from __future__ import annotations

from tempering.training.stopping import GainAtLeast


def rho(before: float, after: float) -> float:
    """Robustness score (Afzal and Huzaifa, eq. 6).

    Args:
        before: Accuracy under attack of the undefended model, a fraction in [0, 1].
        after: Accuracy under the same attack of the hardened model, a fraction in [0, 1].

    Returns:
        `after - before`, in [-1, 1].

    Example:
        >>> rho(0.25, 0.75)
        0.5
    """
    return after - before


def rho_at_least(score: float) -> GainAtLeast:
    """The paper's stop rule: stop once rho on validation data reaches a score.

    A recipe sets it as `gain_at_least`; the paper's own value is 0.1.

    Args:
        score: The rho at which training stops, a fraction.

    Returns:
        The stop rule, for `Rounds(stop=...)`.

    Example:
        >>> rho_at_least(0.1)
        GainAtLeast(gain=0.1)
    """
    return GainAtLeast(score)
