"""Which targets get all the steps."""

import torch

from tempering.attacks.targets import best_targets, most_likely


def test_targets_of_the_largest_scores_are_kept_best_first() -> None:
    targets = torch.tensor([[4, 2, 7], [1, 0, 3]])
    score = torch.tensor([[-0.3, 0.1, -0.2], [0.5, 0.2, 0.5]])
    assert best_targets(targets, score, 2).tolist() == [[2, 7], [1, 3]]
    assert best_targets(targets, score, 9).tolist() == [[2, 7, 4], [1, 3, 0]]


def test_the_likeliest_targets_are_not_protected() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 9.0, 8.0, 7.0]])
    protected = torch.tensor([[True, False, False, False], [False, True, True, False]])
    assert most_likely(logits, protected, 3).tolist() == [[2, 3], [3, 0]]
