"""Evaluations that spend no seconds on linear bounds, for tests of what is around them.

They would take up to three seconds at the threat's eps and at each eps of the curve: longer than
all attacks on the few samples of a test. Interval bounds are tried all the same, and no clock
decides what is certified. A module that needs more has a fixture of the same name.
"""

from collections.abc import Iterator
from unittest import mock

import pytest

from tempering.evaluation import certificate_prices


@pytest.fixture(autouse=True, scope="module")
def cheap_certificates() -> Iterator[None]:
    with mock.patch.multiple(certificate_prices, IN_ANY_CASE=0.0, SHARE=0.0):
        yield
