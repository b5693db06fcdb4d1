"""Bounds and times beside auto_LiRPA's, on its recorded networks or with a checkout of it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tempering.certification.alpha_crown import AlphaCrown, initial_parameters, optimized_bounds
from tempering.certification.crown import crown_lower_bound, interval_lower_bound
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import alpha_intervals, crown_intervals
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.core.threats import Linf

Row = dict[str, Any]
REFERENCE = Path(__file__).parent.parent / "tests" / "certification" / "reference"
"""Networks in `nets.py`, recorded bounds in `bounds.json`."""
METHODS = {"interval": "IBP", "crown": "CROWN", "alpha-crown": "CROWN-Optimized"}
"""Ours -> theirs."""
THEIR_STEPS, THEIR_RATE = 100, 0.1
"""Of alpha-CROWN, as recorded."""
OUTPUTS = 10


@cache
def networks(folder: Path) -> Any:
    """The module that builds the reference networks."""
    spec = importlib.util.spec_from_file_location("reference_nets", folder / "nets.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"no networks in {folder}: give a folder with nets.py and bounds.json")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def recorded(folder: Path) -> dict[str, Any]:
    """What auto_LiRPA proved, by network."""
    records: dict[str, Any] = json.loads((folder / "bounds.json").read_text("utf-8"))
    return records


def cases(folder: Path) -> list[tuple[str, str, str]]:
    """Network, threat and method of every record."""
    return [
        (name, threat, method)
        for name, record in recorded(folder).items()
        for threat in record["bounds"]
        for method in METHODS
    ]


def margins(classes: list[int]) -> tuple[Tensor, Tensor]:
    """The sample of each margin, and its coefficients of the logits, as they are recorded."""
    eye = torch.eye(OUTPUTS, dtype=torch.float64)
    a = torch.stack([eye[own] - eye[rival] for own in classes for rival in _rivals(own)])
    return torch.arange(len(classes)).repeat_interleave(OUTPUTS - 1), a


def _rivals(own: int) -> list[int]:
    return [rival for rival in range(OUTPUTS) if rival != own]


def ours(graph: Graph, region: Region, rows: Tensor, a: Tensor, method: str) -> Tensor:
    """Lower bounds of all margins, none left out."""
    last, bounds = len(graph.steps) - 1, propagate(graph, region)
    if method == "interval":
        return interval_lower_bound(graph, bounds, region, last, rows, a)
    bounds = crown_intervals(graph, region, bounds)
    if method == "crown":
        return crown_lower_bound(graph, bounds, region, last, rows, a)[0]
    plan = AlphaCrown()
    bounds = alpha_intervals(graph, region, bounds, plan)
    start = initial_parameters(graph, bounds, rows)
    return optimized_bounds(graph, bounds, region, rows, a, start, plan, float("inf"))[0]


def theirs(
    checkout: Path, model: nn.Module, x: Tensor, eps: float, a: Tensor, method: str
) -> Tensor:
    """The same by a user's own checkout of auto_LiRPA, in the type of the images."""
    sys.path.insert(0, str(checkout))
    lirpa = importlib.import_module("auto_LiRPA")
    perturbations = importlib.import_module("auto_LiRPA.perturbations")
    options = {"optimize_bound_args": {"iteration": THEIR_STEPS, "lr_alpha": THEIR_RATE}}
    bounded = lirpa.BoundedModule(model, torch.empty_like(x), bound_opts=options)
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    ball = perturbations.PerturbationLpNorm(norm=float("inf"), eps=eps, x_L=low, x_U=high)
    c = a.reshape(len(x), OUTPUTS - 1, OUTPUTS).to(x.dtype)
    given = (lirpa.BoundedTensor(x, ball),)
    bound, _ = bounded.compute_bounds(x=given, C=c, method=METHODS[method], bound_upper=False)
    answer: Tensor = bound.detach().double().flatten()
    return answer


def timed(run: Callable[[], Tensor], times: int) -> tuple[Tensor, float]:
    """What it returns, and the processor time of the fastest of some runs, in seconds."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        answer = run()
        best = min(best, time.process_time() - began)
    return answer, best


def measured(
    folder: Path, name: str, threat: str, method: str, checkout: Path | None = None
) -> Row:
    """Tightness and time beside the record, and beside a checkout if there is one.

    Returns:
        `gap`: our distance from the sampled margins over theirs, all margins together; at most
        1 where ours is tighter. Milliseconds are of processor time an image.
    """
    record = recorded(folder)[name]
    model, x = networks(folder).build(name).float(), networks(folder).images(name).float()
    graph, eps = graph_of(model, x), float(threat.partition(":")[2])
    region = Region.around(x, Linf(eps))
    rows, a = margins(record["classes"])
    times = 1 if method == "alpha-crown" else 3
    with torch.no_grad():
        _, forward = timed(lambda: model(x), 20)
        bound, seconds = timed(lambda: ours(graph, region, rows, a, method), times)
    bounds = record["bounds"][threat]
    sampled = _flat(bounds["sampled"])
    row: Row = {
        "milliseconds": 1e3 * seconds / len(x),
        "forward_milliseconds": 1e3 * forward / len(x),
        "above_sampled": int((bound > sampled + 1e-6).sum()),
        "gap": None,
        "their_milliseconds": None,
    }
    if "margins" in bounds[method]:
        row["gap"] = _gap(bound, _flat(bounds[method]["margins"]), sampled)
        row["their_milliseconds"] = 1e3 * bounds[method]["seconds"]
    if checkout is not None:
        here, seconds = timed(lambda: theirs(checkout, model, x, eps, a, method), times)
        row["gap_here"] = _gap(bound, here, sampled)
        row["their_milliseconds_here"] = 1e3 * seconds / len(x)
    return row


def _flat(values: list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).flatten()


def _gap(bound: Tensor, other: Tensor, sampled: Tensor) -> float:
    return float((sampled - bound).sum() / (sampled - other).sum())
