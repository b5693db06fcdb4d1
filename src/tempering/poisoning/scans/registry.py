"""The scans by name."""

from __future__ import annotations

from tempering.core.registry import Registry
from tempering.poisoning.scans.activation_clustering import activation_clustering
from tempering.poisoning.scans.base import Scan
from tempering.poisoning.scans.clean_base import clean_base
from tempering.poisoning.scans.confident_learning import confident_learning
from tempering.poisoning.scans.dbscan import dbscan
from tempering.poisoning.scans.hygiene import hygiene
from tempering.poisoning.scans.names import NAMES
from tempering.poisoning.scans.perturbation_bounds import perturbation_bounds
from tempering.poisoning.scans.spectral_signatures import spectral_signatures
from tempering.poisoning.scans.spectre import spectre
from tempering.poisoning.scans.strip import strip

SCANS: Registry[Scan] = Registry("scan")
"""Name -> scan."""

_SCANS: tuple[Scan, ...] = (
    hygiene,
    confident_learning,
    clean_base,
    strip,
    spectral_signatures,
    activation_clustering,
    spectre,
    perturbation_bounds,
    dbscan,
)
for _name, _scan in zip(NAMES, _SCANS, strict=True):
    SCANS.register(_name)(_scan)
