"""The benchmarks are scripts beside each other, no package: their folder goes on the path."""

import sys

from tests.architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
