"""Black-box access to a model: queries are counted and capped for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.core.goals import margin, reached
from tempering.core.probe import Probe


class QueryOracle:
    """A model that a black-box attacker may query a limited number of times per sample.

    Attributes:
        spent: Queries made for each sample of the problem, shape (n,), int64.
        outputs: Number of outputs in the last answer; 0 before the first.
    """

    def __init__(self, probe: Probe, problem: Problem, queries: int) -> None:
        self._probe = probe
        self._problem = problem
        self._cap = queries
        self._reserved = 0
        self.outputs = 0
        self._protected = torch.zeros(0, 0, dtype=torch.bool)
        self.spent = torch.zeros(len(problem.x), dtype=torch.int64, device=problem.x.device)

    def remaining(self, rows: Tensor) -> Tensor:
        """Queries left for some samples without those reserved, shape of rows, int64."""
        return (self._cap - self._reserved - self.spent[rows]).clamp_min(0)

    def reserve(self, queries: int) -> None:
        """Set aside queries of every sample for later; 0 releases them."""
        self._reserved = queries

    def affordable(self, rows: Tensor) -> Tensor:
        """Those of the rows that have a query left."""
        return rows[self.remaining(rows) > 0]

    def margins(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Query scores: margins in the attacker's favour, and which images succeed.

        Args:
            x: Images, shape (m, c, h, w).
            rows: The sample that each image stands for, shape (m,), int64; may repeat.

        Returns:
            Margin, shape (m,), float, and success, shape (m,), bool.
        """
        answers = [self._answers(x[part], rows[part]) for part in self._parts(rows)]
        gaps = [x.new_zeros(0), *(margin(*answer) for answer in answers)]
        success = [rows.new_zeros(0, dtype=torch.bool), *(reached(*answer) for answer in answers)]
        return torch.cat(gaps), torch.cat(success)

    def fooled(self, x: Tensor, rows: Tensor) -> Tensor:
        """Query labels only: which images succeed, shape (m,), bool."""
        success = [reached(*self._answers(x[part], rows[part])) for part in self._parts(rows)]
        return torch.cat([rows.new_zeros(0, dtype=torch.bool), *success])

    def _parts(self, rows: Tensor) -> list[slice]:
        size = self._problem.batch_size
        return [slice(at, at + size) for at in range(0, len(rows), size)]

    def _answers(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        problem = self._problem
        self.spent.index_add_(0, rows, torch.ones_like(rows))
        logits = self._probe.logits(x, problem.streams.index[rows])
        if logits.shape[1] != self.outputs:
            self.outputs = logits.shape[1]
            self._protected = problem.goal.protected(problem.y, self.outputs)
        return logits, self._protected[rows]


def check_queries(name: str, queries: int) -> None:
    """Refuse a query budget that is no whole number of at least 1.

    Raises:
        UsageError: Naming the attack and the value.
    """
    if not (isinstance(queries, int) and queries >= 1):
        raise UsageError(f"{name}: queries = {queries}: give a whole number of at least 1")
