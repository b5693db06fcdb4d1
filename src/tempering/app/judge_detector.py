"""The detector of a system, measured on test images."""

from __future__ import annotations

import time

from torch import Tensor

from tempering.core.detector_records import ADAPTIVE, ALL_KNOWN, DetectorFigures, Estimator
from tempering.core.progress import track
from tempering.core.random import derive
from tempering.evaluation.context import EvalContext
from tempering.evaluation.detection_figures import (
    Judge,
    attacked,
    confusion,
    in_turn,
    left_out_rows,
)
from tempering.evaluation.unknown_attacks import NONE, leave_one_attack_out
from tempering.systems.setting import Setting
from tempering.systems.watched import Watched


def detector_figures(
    watched: Watched | None, setting: Setting, context: EvalContext, adaptive: Tensor | None
) -> DetectorFigures | None:
    """Measure a detector on test images, attacked without knowledge of it and with it.

    Args:
        watched: The detector; None for a system without one.
        setting: Threat, seed and budget.
        context: Test images.
        adaptive: The image of each sample that is worst for the system, of those that white-box
            attacks on all of it made, shape (n, c, h, w); None if they were not kept.
    """
    if watched is None:
        return None
    began = time.perf_counter()
    data, threat, network = context.data, setting.threat, watched.network
    seed = derive(setting.seed, "detector figures")
    judge = Judge.of(watched.detector, data)
    known = attacked(network, data, threat, watched.attacks, seed)
    unknown = attacked(network, data, threat, watched.unknown, seed)
    mixed = in_turn(known)
    rows = [judge.detection(ALL_KNOWN, mixed, known=True)]
    rows += [judge.detection(name, x_adv, known=True) for name, x_adv in known.items()]
    rows += [judge.detection(name, x_adv, known=False) for name, x_adv in unknown.items()]
    if adaptive is not None:
        rows.append(judge.detection(ADAPTIVE, adaptive, known=False))
    accepted = end_to_end = None
    if watched.rejects:
        accepted, end_to_end = judge.accuracies(network, data, mixed)
    matrix = leave_one_attack_out(watched.refit, network, data, threat, watched.attacks, seed)
    by_eps = []
    for share in watched.shares:
        eps = round(threat.eps * share, 10)
        smaller = attacked(network, data, threat.with_eps(eps), watched.attacks, seed)
        by_eps.append(judge.at_eps(eps, smaller))
    return DetectorFigures(
        name=watched.name,
        n=len(data),
        threshold=float(watched.detector.threshold),
        clean_rejected=judge.clean_rejected,
        accuracy_on_accepted=accepted,
        accuracy_end_to_end=end_to_end,
        attacks=rows,
        left_out=left_out_rows(matrix, NONE),
        refit_on=watched.refit_on,
        confusion=confusion(watched.detector, data.x, known),
        by_eps=by_eps,
        estimators=_estimators(watched, context, mixed),
        seconds=round(time.perf_counter() - began, 3),
    )


def _estimators(watched: Watched, context: EvalContext, mixed: Tensor) -> list[Estimator]:
    """Each estimator in the detector's place, fitted to the same images."""
    rows = []
    with track("estimators", len(watched.estimators)) as advance:
        for name in watched.estimators:
            began = time.perf_counter()
            detector = watched.refit(watched.attacks, estimator=name)
            seconds = round(time.perf_counter() - began, 3)
            judge = Judge.of(detector, context.data)
            detection = judge.detection(ALL_KNOWN, mixed, known=True)
            rows.append(
                Estimator(
                    name=name,
                    clean_rejected=judge.clean_rejected,
                    detection=detection,
                    seconds=seconds,
                )
            )
            advance(1, name)
    return rows
