"""Scanning data: planted poison is found, clean data come out as clean, bad input is refused."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch

from tempering.core.errors import DataError, ModelError, UnknownNameError, UsageError
from tempering.data.dataset import Dataset
from tempering.poisoning.features import seen_by
from tempering.poisoning.scan import DataScan, scan_samples
from tempering.poisoning.threshold import Threshold
from tests.poisoning.scanned import flipped, patched, stripes


@cache
def clean_scan() -> DataScan:
    return scan_samples(stripes(), 0.02)


@cache
def poisoned_scan(kind: str) -> tuple[DataScan, torch.Tensor]:
    data, poisoned = (flipped if kind == "flips" else patched)(stripes(), 30)
    return scan_samples(data, 0.02), poisoned


def test_clean_data_have_as_many_suspects_as_chance_gives() -> None:
    done = clean_scan()
    assert not done.suspicious
    assert done.expected == pytest.approx(12)
    assert len(done.suspects) <= 20


@pytest.mark.parametrize("kind", ["flips", "patch"])
def test_poison_is_found(kind: str) -> None:
    done, poisoned = poisoned_scan(kind)
    assert done.suspicious
    assert float((~done.keep[poisoned]).float().mean()) >= 0.85
    assert float((~done.keep[~poisoned]).float().mean()) <= 0.04


def test_suspects_come_in_order_and_have_reasons() -> None:
    done, poisoned = poisoned_scan("flips")
    scores = done.score[done.suspects]
    assert bool((scores[:-1] >= scores[1:]).all())
    assert bool(poisoned[done.suspects[0]])
    said = done.reasons()
    assert [bool(text) for text in said] == (~done.keep).tolist()
    assert "it looks like" in " ".join(said)


def test_a_suspect_that_equals_a_sample_with_another_label_says_so_whatever_that_weighs() -> None:
    data = stripes(400)
    x, y = data.pixels.clone(), data.y.clone()
    for row in range(4, 40, 4):
        x[row] = x[1]
    y[4:40:4], y[1] = 2, 0
    done = scan_samples(replace(data, pixels=x, y=y), 0.02, scans=["hygiene", "clean-base"])
    assert 1 in done.suspects.tolist()
    equal, like, *_ = done.reason(1).split("; ")
    told = "stripes/4 (c), stripes/8 (c), stripes/12 (c) and 6 more, with another label"
    assert equal == f"it is almost equal to {told}"
    assert like.startswith("it looks like c")


def test_neighbours_of_suspects_are_kept_samples() -> None:
    done, _ = poisoned_scan("flips")
    near = done.clean_neighbours(int(done.suspects[0]))
    assert near
    assert bool(done.keep[torch.tensor(near)].all())


def test_a_seed_repeats_scores_and_leaves_the_data() -> None:
    data = stripes(240)
    before = data.pixels.clone()
    first, second = (scan_samples(data, 0.02, scans=["clean-base", "spectral"]) for _ in range(2))
    assert torch.equal(first.score, second.score)
    assert torch.equal(data.pixels, before)


def test_clean_reference_sets_the_threshold() -> None:
    data, poisoned = flipped(stripes(300), 12)
    reference = stripes(200, seed=9, name="reference")
    done = scan_samples(data, 0.02, clean=reference)
    assert done.first.threshold.rank == (200, 197)
    assert len(done.score) == len(done.keep) == 300
    assert float((~done.keep[poisoned]).float().mean()) >= 0.85


def test_features_of_a_model_replace_small_networks() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    done = scan_samples(stripes(200), 0.05, scans=["spectral"], model=network)
    assert [part.shape for part in done.first.features.trained] == [(done.first.kind.shape[0], 64)]


def test_bytes_are_scanned() -> None:
    data = stripes(200)
    as_bytes = (255 * data.pixels).round().to(torch.uint8)
    held = Dataset(as_bytes, data.y, data.classes, data.name, data.ids)
    assert len(scan_samples(held, 0.05, scans=["clean-base"]).score) == 200


def test_one_class_alone_is_refused() -> None:
    data = stripes(80)
    with pytest.raises(DataError, match=r"one class alone, a: give data of at least two"):
        scan_samples(data.keep(data.y == 0), 0.1)


def test_a_class_with_too_few_samples_is_refused() -> None:
    data = stripes(80)
    few = data.subset(torch.cat([(data.y != 0).nonzero()[:, 0], (data.y == 0).nonzero()[:3, 0]]))
    with pytest.raises(DataError, match=r"class a of stripes has 3 samples: .* at least 12"):
        scan_samples(few, 0.1)


@pytest.mark.parametrize(
    ("fpr", "said"),
    [
        (0.0, r"--fpr 0: give a share above 0"),
        (0.7, r"--fpr 0.7: give a share above 0"),
        (0.001, r"--fpr 0.001 of 80 samples is less than one: give at least 0.013"),
    ],
)
def test_rates_that_the_data_cannot_show_are_refused(fpr: float, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scan_samples(stripes(80), fpr)


def test_an_unknown_scan_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean spect"):
        scan_samples(stripes(80), 0.1, scans=["spectrl"])


def test_everything_suspect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lowest = Threshold(-1e9)
    monkeypatch.setattr("tempering.poisoning.scan_round.threshold_by_planted", lambda *_: lowest)
    with pytest.raises(DataError, match=r"every sample of stripes is suspect: .* give clean"):
        scan_samples(stripes(80), 0.1, scans=["clean-base"])


def test_clean_data_of_another_kind_are_refused() -> None:
    other = Dataset(torch.rand(40, 1, 9, 9), torch.arange(40) % 4, tuple("abcd"), "other")
    with pytest.raises(DataError, match=r"clean data other has images \(1, 9, 9\)"):
        scan_samples(stripes(80), 0.1, clean=other)


@dataclass
class FakeRound:
    """A round that finds the first samples of what it is given."""

    data: Dataset
    found: int
    suspicious: bool

    @property
    def score(self) -> torch.Tensor:
        return torch.where(torch.arange(len(self.data)) < self.found, 2.0, -1.0)

    @property
    def suspects(self) -> int:
        return int((self.score > 0).sum())

    @property
    def expected(self) -> float:
        return 0.02 * len(self.data)

    def reason(self, row: int) -> str:
        return f"{row} of {len(self.data)}"


def test_the_rest_of_suspicious_data_is_scanned_again_while_it_is_suspicious(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds: list[int] = []

    def fake(data: Dataset, *given: object) -> FakeRound:
        seeds.append(int(given[-1]))  # type: ignore[call-overload]
        number = len(seeds)
        return FakeRound(data, found=10 * number, suspicious=number < 3)

    monkeypatch.setattr("tempering.poisoning.scan.scan_once", fake)
    done = scan_samples(stripes(200), 0.02)
    assert len(set(seeds)) == 3
    assert [len(rows) for rows, _ in done.rounds] == [200, 190]  # the third is not suspicious
    assert (~done.keep).nonzero()[:, 0].tolist() == list(range(30))
    assert done.expected == pytest.approx(0.02 * 390)
    assert done.reason(5) == "5 of 200"
    assert done.reason(12) == "2 of 190"


def test_data_with_nothing_wrong_are_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(data: Dataset, *_given: object) -> FakeRound:
        return FakeRound(data, found=3, suspicious=False)

    monkeypatch.setattr("tempering.poisoning.scan.scan_once", fake)
    assert len(scan_samples(stripes(200), 0.02).rounds) == 1


def test_a_round_that_suspects_all_that_is_left_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fake(data: Dataset, *_given: object) -> FakeRound:
        return FakeRound(data, found=10 if len(data) == 200 else len(data), suspicious=True)

    monkeypatch.setattr("tempering.poisoning.scan.scan_once", fake)
    done = scan_samples(stripes(200), 0.02)
    assert len(done.rounds) == 1
    assert len(done.suspects) == 10


def test_equal_images_alone_are_refused() -> None:
    data = Dataset.of(torch.full((80, 1, 8, 8), 0.5), torch.arange(80) % 2, name="grey")
    with pytest.raises(DataError, match=r"all 80 images of grey are equal: give different"):
        scan_samples(data, 0.1)


def test_a_rate_that_the_clean_samples_in_use_cannot_show_is_refused_before_the_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempering.poisoning.scan.MOST_CLEAN", 50)
    monkeypatch.delattr("tempering.poisoning.scan.scan_once")
    with pytest.raises(UsageError, match=r"--fpr 0.01 of 50 samples is less than one"):
        scan_samples(stripes(200), 0.01, clean=stripes(200, seed=3, name="clean"))


class Answers(torch.nn.Module):
    """A linear network whose last step replaces some logits."""

    def __init__(self, classes: int, bad_over: float) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.bad_over = bad_over

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bad = x.mean((1, 2, 3)) > self.bad_over
        logits: torch.Tensor = self.linear(x.flatten(1))
        return logits.masked_fill(bad[:, None], torch.nan)


@pytest.mark.parametrize(
    ("scans", "network", "said"),
    [
        (["confident-learning"], Answers(2, 9.0), r"answers with shape \(\d+, 2\), stripes has 4"),
        (["confident-learning"], Answers(4, 0.3), r"logits of Answers for \S+ are not finite"),
        (["strip"], Answers(4, 0.75), r"logits of Answers for images laid over each other"),
    ],
)
def test_models_without_a_finite_logit_for_each_class_are_refused(
    scans: list[str], network: torch.nn.Module, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        scan_samples(stripes(80), 0.1, scans=scans, model=network)


def test_logits_are_those_of_the_whole_forward_pass() -> None:
    class Reversed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(64, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.linear(x.flatten(1))
            return logits.flip(1)

    network, data = Reversed(), stripes(20)
    assert torch.equal(seen_by(network, data)[1], network(data.x).detach())
