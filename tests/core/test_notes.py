"""Notes warn once a job, and in every job."""

import warnings

from tempering.core.notes import note, noted, notes


def test_a_note_warns_once_in_every_job() -> None:
    for _ in range(2):
        with warnings.catch_warnings(record=True) as seen, noted():
            warnings.simplefilter("default")
            for _ in range(3):
                note("the first output is taken")
            assert notes() == ["the first output is taken"]
        assert [str(warning.message) for warning in seen] == ["the first output is taken"]


def test_outside_a_job_the_filters_do_not_forget() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(2):
            note("one band is shown")
    assert len(seen) == 2
    assert seen[0].filename == __file__
