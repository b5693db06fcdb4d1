"""Decompression of gzip data, damaged data included."""

from __future__ import annotations

import zlib
from pathlib import Path

from tempering.core.errors import DataError

PIECE = 1 << 20


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        DataError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}: give a readable file") from error


def unpack(packed: bytes) -> tuple[bytes, str]:
    """Decompress gzip data.

    Returns:
        The content up to the first fault, and the fault in words; empty if there is none.
    """
    stream = zlib.decompressobj(wbits=31)
    pieces: list[bytes] = []
    try:
        for at in range(0, len(packed), PIECE):
            pieces.append(stream.decompress(packed[at : at + PIECE]))
    except zlib.error as error:
        return b"".join(pieces), f"damaged ({error})"
    return b"".join(pieces), "" if stream.eof else "truncated"
