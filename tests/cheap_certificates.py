"""Evaluations without linear bounds, for tests of what is around them.

Linear bounds would take up to three seconds at the threat's eps and at each eps of the curve:
longer than all attacks on the few samples of a test. `interval` and `crown-ibp` are tried all the
same. The methods are left out rather than the seconds: with too few seconds the clock would decide
which samples are certified. A module that needs more has a fixture of the same name.
"""

from collections.abc import Iterator
from unittest import mock

import pytest

from tempering.evaluation import certification_survey, complete_verification


@pytest.fixture(autouse=True, scope="module")
def cheap_certificates() -> Iterator[None]:
    with (
        mock.patch.object(certification_survey, "DEAR", ()),
        mock.patch.object(complete_verification, "METHODS", ()),
    ):
        yield
