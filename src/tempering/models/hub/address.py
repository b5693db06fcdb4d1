"""Addresses of networks that a library builds, `timm:NAME` and `hf:ORG/NAME`; without torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tempering.core.errors import ModelError

LIBRARIES = {"timm": "timm", "hf": "transformers"}
"""Prefix of an address -> the library that builds the network, and the extra that installs it."""
FORMS = {
    "timm:NAME": "a network of timm with its weights and normalisation, such as timm:resnet18",
    "hf:ORG/NAME": "an image classifier of transformers from the Hugging Face hub",
    "hf:DIR": "the same from a folder that save_pretrained() wrote, with model.safetensors",
}
"""Forms of an address, and what they mean."""
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""One of these holds the weights of a local folder in the hub's format."""


@dataclass(frozen=True)
class HubAddress:
    """An address such as `timm:resnet18` or `hf:google/vit-base-patch16-224`.

    Attributes:
        prefix: `timm` or `hf`.
        name: What follows; after `hf:` also a local folder in the hub's format.
    """

    prefix: str
    name: str

    @classmethod
    def of(cls, text: str) -> HubAddress:
        """Of an address that is known to be one."""
        prefix, _, name = text.partition(":")
        return cls(prefix, name)

    def __str__(self) -> str:
        return f"{self.prefix}:{self.name}"

    @property
    def library(self) -> str:
        """The library that builds the network."""
        return LIBRARIES[self.prefix]

    @property
    def folder(self) -> Path | None:
        """The local folder that is meant; None for a name on the hub."""
        path = Path(self.name).expanduser()
        local = path.is_dir() or self.name.startswith((".", "/", "~"))
        return path if self.prefix == "hf" and self.name and local else None

    def resolved(self) -> HubAddress:
        """The same, whatever folder is the current one later."""
        folder = self.folder
        return self if folder is None else HubAddress(self.prefix, str(folder.resolve()))

    def require(self) -> None:
        """Refuse an address as far as its text, files and installed packages tell.

        Raises:
            ModelError: If the name or the library is missing, or the folder has not the files.
        """
        if not self.name:
            example = "timm:resnet18" if self.prefix == "timm" else "hf:google/vit-base-patch16-224"
            raise ModelError(f"model {self}: give a name behind the colon, such as {example}")
        if self.library not in sys.modules and find_spec(self.library) is None:
            raise ModelError(
                f"{self} needs the library {self.library}: pip install 'tempering[{self.library}]'"
            )
        if (folder := self.folder) is not None:
            _require_files(folder, self)


def hub_of(address: str | Path) -> HubAddress | None:
    """The parts of an address of a library's network; None for any other address.

    Example:
        >>> hub_of("timm:resnet18"), hub_of("zoo:mnist-linf-0.1")
        (HubAddress(prefix='timm', name='resnet18'), None)
    """
    prefix, colon, _ = str(address).partition(":")
    return HubAddress.of(str(address)) if colon and prefix in LIBRARIES else None


def is_foreign(address: str) -> bool:
    """Whether an address names what builds a network, a library or `file.py:factory`.

    Any other address is that of a saved model.

    Example:
        >>> is_foreign("my.py:build"), is_foreign("hf:org/name"), is_foreign("runs/latest")
        (True, True, False)
    """
    return ".py:" in address or hub_of(address) is not None


def _require_files(folder: Path, address: HubAddress) -> None:
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"no {CONFIG} in {folder}: give {address.prefix}: a folder that save_pretrained() "
            "wrote, or ORG/NAME of a model on the hub"
        )
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise ModelError(
            f"no {WEIGHTS[0]} in {folder}: save the model with safetensors, since nothing is "
            "unpickled"
        )
