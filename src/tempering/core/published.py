"""Figures that others published, which several parts compare with."""

FGSM_FALL, FGSM_EPS = 0.66, 0.1
"""Wibawa (2023): how far FGSM of an eps makes accuracy fall."""
