from __future__ import annotations

import gzip
import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch

from tempering.core.errors import DataError
from tempering.data.raw_splits import RawSplits
from tempering.data.sources.mnist import BUNDLED, MD5, read_mnist

IMAGES = "t10k-images-idx3-ubyte"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for file in BUNDLED.glob("*.gz"):
        shutil.copy(file, tmp_path)
    return tmp_path


def message(bundle: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_mnist(bundled=bundle)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_mnist(published: RawSplits) -> None:
    assert published.test is not None
    for part, n in ((published.train, 60_000), (published.test, 10_000)):
        assert part.x.shape == (n, 1, 28, 28)
        assert part.x.dtype == torch.uint8
        assert part.y.shape == (n,)
    assert published.train.y[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert published.classes == tuple("0123456789")


def test_an_altered_file_is_refused_with_both_hashes(bundle: Path) -> None:
    path = bundle / f"{IMAGES}.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[5000] ^= 1
    path.write_bytes(gzip.compress(bytes(content), 1))
    digest = hashlib.md5(content).hexdigest()
    text = message(bundle)
    assert str(path) in text
    assert "altered" in text
    assert digest in text
    assert MD5[IMAGES] in text


def test_a_truncated_file_is_refused_with_both_hashes(bundle: Path) -> None:
    path = bundle / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    text = message(bundle)
    assert str(path) in text
    assert "truncated" in text
    assert MD5[IMAGES] in text
    assert len(set(re.findall(r"[0-9a-f]{32}", text))) == 2


@pytest.mark.parametrize("content", [b"", b"not gzip at all"])
def test_rubbish_is_refused(bundle: Path, content: bytes) -> None:
    path = bundle / f"{IMAGES}.gz"
    path.write_bytes(content)
    assert str(path) in message(bundle)


def test_a_flipped_packed_byte_is_refused(bundle: Path) -> None:
    path = bundle / f"{IMAGES}.gz"
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    assert MD5[IMAGES] in message(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    path = bundle / f"{IMAGES}.gz"
    path.unlink()
    assert f"cannot read bundled {path}" in message(bundle)


def test_the_bundle_is_small_and_licensed() -> None:
    assert sum(file.stat().st_size for file in BUNDLED.glob("*.gz")) <= 12 * 2**20
    licence = (BUNDLED / "LICENSE.md").read_text(encoding="utf-8")
    assert "Yann LeCun and Corinna Cortes" in licence
    assert "CC BY-SA 3.0" in licence
    assert all(digest in licence for digest in MD5.values())
