"""The privacy budget of DP-SGD, by the accountant of Opacus."""

from __future__ import annotations

from tempering.core.errors import UsageError


def privacy_budget(
    noise: float, batch_size: int, samples: int, steps: int, delta: float = 1e-5
) -> float:
    """The epsilon of a training with the objective `dp`, at a given delta.

    Mironov, 'Renyi differential privacy of the sampled Gaussian mechanism', 2019. The accountant
    assumes that batches are drawn by Poisson sampling; training shuffles the data instead, so the
    number is the usual approximation. The noise follows from the run's seed: who knows
    the seed is not covered by it.

    Args:
        noise: Standard deviation of the noise, in units of the clipping norm.
        batch_size: Samples a step.
        samples: Training samples.
        steps: Steps of training.
        delta: Probability with which the bound may fail; below 1 / samples.

    Returns:
        epsilon.

    Raises:
        UsageError: If Opacus is missing, or a number makes no sense.
    """
    if noise <= 0 or steps < 1 or not 0 < batch_size <= samples or not 0 < delta < 1:
        raise UsageError(
            f"noise {noise:g}, {steps} steps of {batch_size} of {samples} samples, "
            f"delta {delta:g}: give noise above 0, at least 1 step, batches of 1 to all samples, "
            "and delta in (0, 1)"
        )
    try:
        from opacus.accountants import RDPAccountant
    except ImportError as error:
        raise UsageError(
            "a privacy budget needs the library opacus: pip install 'tempering[dp]'"
        ) from error
    accountant = RDPAccountant()
    accountant.history = [(noise, batch_size / samples, steps)]
    return float(accountant.get_epsilon(delta))
