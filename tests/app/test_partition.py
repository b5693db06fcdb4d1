"""`temper partition`: a vote over disjoint parts, from the command line and from Python."""

from pathlib import Path

import pytest

import tempering as tp
from tempering.core.errors import UsageError
from tests.app.running import temper

SMALL = ("model.options.width=4", "model.options.hidden=32", "model.options.squeeze=[]")


def test_a_vote_is_trained_certified_saved_and_loaded(tmp_path: Path) -> None:
    sets = [word for one in SMALL for word in ("--set", one)]
    words = ("partition", "--data", "digits", "--parts", "5", "--steps", "150", "--samples", "60")
    done = temper(*words, *sets, "--out", "vote", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert (found["parts"], found["n"]) == (5, 60)
    hits = [count["hits"] for count in found["within"]]
    assert hits == sorted(hits, reverse=True)
    assert hits[0] > 30
    assert hits[1] > 0
    saved = tp.models.load(tmp_path / "vote")
    assert saved.manifest.data == "digits"
    assert len(list(saved.model.get_submodule("members").children())) == 5
    again = tp.partition("digits", 5, steps=150, samples=60, overrides=SMALL)
    assert [count.hits for count in again.certificates.within] == hits
    refused = temper(*words, "--out", "vote", folder=tmp_path)
    assert refused.code == 2
    assert "vote" in refused.err
    few = ("partition", "--data", "digits", "--parts", "2", "--steps", "1", "--samples", "60")
    told = temper(*few, *sets, folder=tmp_path)
    assert "2 networks vote on digits, seed 0" in told.out
    assert ", 60 test images" in told.out


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"parts": 0}, "parts"),
        ({"steps": 0}, "steps"),
        ({"samples": 10**6}, "samples 1000000 of 359 test images: give at most 359"),
        ({"objective": "single-pass"}, "needs a trained model"),
        ({"overrides": ["model.name=zoo:mnist-linf-0.1"]}, "give the name of a network"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        tp.partition("digits", **{"parts": 2, "steps": 1, **options})  # type: ignore[arg-type]
