"""Asking a model, answer by answer: queries counted and capped for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.core.goals import margin, reached
from tempering.core.probe import Probe


class Oracle:
    """All that a black-box attacker has of a model: its answers, so many and no more.

    Attributes:
        spent: Queries made for each sample of the problem, shape (n,), int64.
        outputs: How many outputs the last answer had; 0 before the first.
        stateful: Whether the model may be shown a sample only once at a time.
    """

    def __init__(self, probe: Probe, problem: Problem, queries: int) -> None:
        self._probe = probe
        self._problem = problem
        self._cap = queries
        self._kept = 0
        self.outputs, self.stateful = 0, probe.stateful
        self._protected = torch.zeros(0, 0, dtype=torch.bool)
        self.spent = torch.zeros(len(problem.x), dtype=torch.int64, device=problem.x.device)

    def left(self, rows: Tensor) -> Tensor:
        """Queries that are left for some samples, shape of rows, int64; none of those kept back."""
        return (self._cap - self._kept - self.spent[rows]).clamp_min(0)

    def keep_back(self, queries: int) -> None:
        """Say that so many queries of every sample are for later; 0 sets them free again."""
        self._kept = queries

    def may(self, rows: Tensor) -> Tensor:
        """Those of the rows that have a query left."""
        return rows[self.left(rows) > 0]

    def margins(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Ask for scores: margins in the attacker's favour, and which images fool.

        Args:
            x: Images, shape (m, c, h, w).
            rows: The sample that each image stands for, shape (m,), int64; it may repeat.

        Returns:
            Margin, shape (m,), float, and success, shape (m,), bool.
        """
        size = self._problem.batch_size
        if 0 < len(rows) <= size:
            logits, protected = self._answers(x, rows)
            return margin(logits, protected), reached(logits, protected)
        gaps = [x.new_zeros(0)]
        verdicts = [torch.zeros(0, dtype=torch.bool, device=x.device)]
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            logits, protected = self._answers(x[part], rows[part])
            gaps.append(margin(logits, protected))
            verdicts.append(reached(logits, protected))
        return torch.cat(gaps), torch.cat(verdicts)

    def fooled(self, x: Tensor, rows: Tensor) -> Tensor:
        """Ask for labels alone: which images fool, shape (m,), bool."""
        size = self._problem.batch_size
        if 0 < len(rows) <= size:
            return reached(*self._answers(x, rows))
        verdicts = [torch.zeros(0, dtype=torch.bool, device=x.device)]
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            verdicts.append(reached(*self._answers(x[part], rows[part])))
        return torch.cat(verdicts)

    def _answers(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        problem = self._problem
        self.spent.index_add_(0, rows, torch.ones_like(rows))
        logits = self._probe.logits(x, problem.streams.index[rows])
        if logits.shape[1] != self.outputs:
            self.outputs = logits.shape[1]
            self._protected = problem.goal.protected(problem.y, self.outputs)
        return logits, self._protected[rows]


def check_queries(name: str, queries: int) -> None:
    """Refuse a number of queries that makes no attack.

    Raises:
        UsageError: If it is no whole number of at least 1.
    """
    if not (isinstance(queries, int) and queries >= 1):
        raise UsageError(f"{name}: queries = {queries}: give a whole number of at least 1")
