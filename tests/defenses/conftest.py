"""Evaluations of defended models, with certificates that cost little."""

from tests.cheap_certificates import cheap_certificates  # noqa: F401 - a fixture of all tests here
