"""A certificate that an attack beat is a bug, and ends the evaluation."""

import pytest
import torch

from tempering.core.errors import CertificateError
from tempering.evaluation.flags import check_certificates


def test_an_attack_that_beats_a_certificate_raises_and_names_the_samples() -> None:
    certified = torch.tensor([True, True, False, True])
    broken = torch.tensor([True, False, True, True])
    with pytest.raises(CertificateError, match=r"pgd-40 broke certified samples 0, 3: a proof"):
        check_certificates(certified, broken, "pgd-40")
    with pytest.raises(CertificateError, match=r"samples 10, 40"):
        check_certificates(certified, broken, keys=torch.tensor([10, 20, 30, 40]))
    many = torch.ones(9).bool()
    with pytest.raises(CertificateError, match=r"0, 1, 2, 3, 4 and 4 more"):
        check_certificates(many, many)


def test_what_was_not_certified_may_be_broken() -> None:
    check_certificates(torch.tensor([True, False]), torch.tensor([False, True]))
    check_certificates(torch.zeros(0).bool(), torch.zeros(0).bool())
