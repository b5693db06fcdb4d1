"""Every entry that comes along loads, has its hash, and says again what its card says."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import tempering as tp
from tempering.attacks.surrogate_ref import SurrogateRef
from tempering.core.errors import ModelError, UnknownNameError
from tempering.core.zoo_records import ZooVerdict
from tempering.data import load as load_data
from tempering.models.manifest import WEIGHTS_FILE
from tempering.models.weights import weights_hash
from tempering.models.zoo import entries
from tempering.training.objectives.registry import parse_objective
from tempering.training.teacher import Distillation

NAMES = entries.names()
MOST_BYTES = 8_000_000

each_entry = pytest.mark.parametrize("name", NAMES)


FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's `dataset-fashion-mnist` puts its files."""


@pytest.fixture
def data_at_hand(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of an entry, which come along or are those of a system package."""
    address = tp.zoo.card(name).data
    if address == "mnist":
        return
    assert address == "idx:fashion"
    if not FASHION.is_dir():
        pytest.skip("dataset-fashion-mnist is not installed")
    (tmp_path / "fashion").symlink_to(FASHION)
    monkeypatch.chdir(tmp_path)


def verdicts(name: str) -> list[ZooVerdict]:
    lines = (entries.entry_folder(name) / entries.VERDICTS_FILE).read_text("utf-8").splitlines()
    return [ZooVerdict.model_validate_json(line) for line in lines]


def test_there_are_entries_and_they_are_small() -> None:
    assert "mnist-linf-0.1" in NAMES
    files = [path for path in entries.ENTRIES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


@each_entry
def test_an_entry_loads_and_its_hash_holds(name: str) -> None:
    loaded, told = tp.zoo.load(name), tp.zoo.card(name)
    assert weights_hash(loaded.model) == loaded.manifest.weights == told.weights
    assert loaded.manifest.threat == told.threat
    assert loaded.manifest.data == told.data
    assert sum(value.numel() for value in loaded.model.parameters()) == told.parameters
    assert {value.dtype for value in loaded.model.parameters()} == {torch.float32}


@each_entry
@pytest.mark.usefixtures("data_at_hand")
def test_an_entry_was_evaluated_on_the_whole_official_test_set(name: str) -> None:
    told = tp.zoo.card(name)
    splits = load_data(told.data, "official", tp.zoo.load(name).manifest.seed)
    assert told.n == len(splits.test) == told.clean.n == told.robust.n == told.certified.n
    assert told.data_hash == splits.data_hash
    assert told.certified.hits <= told.robust.hits <= told.clean.hits
    assert told.training.command.split(" harden ")[0].endswith(("temper", "tempering"))


@each_entry
@pytest.mark.usefixtures("data_at_hand")
def test_verdicts_on_a_few_images_repeat(name: str) -> None:
    kept, loaded = verdicts(name), tp.zoo.load(name)
    test = load_data(loaded.manifest.data, "official", loaded.manifest.seed).test
    row = {identity: at for at, identity in enumerate(test.ids.names)}
    part = test.subset(torch.tensor([row[one.id] for one in kept]))
    assert part.y.tolist() == [one.y for one in kept]
    with torch.no_grad():
        predicted = loaded.model(part.x).argmax(1).tolist()
    assert predicted == [one.predicted for one in kept]
    certified = torch.tensor([one.certified for one in kept])
    robust = torch.tensor([one.robust for one in kept])
    attacked = tp.attack(loaded.model, (part.x, part.y), loaded.manifest.threat, "pgd:steps=20")
    with torch.no_grad():
        right = loaded.model(attacked.x_adv).argmax(1) == part.y
    assert bool(right[certified].all())
    assert bool(right[robust].all())


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean mnist-linf-0\.1"):
        tp.zoo.load("mnist-linf-0.11")
    with pytest.raises(UnknownNameError, match="unknown zoo entry"):
        tp.models.load("zoo:nothing-like-it")


def test_an_entry_teaches_and_attacks() -> None:
    told = tp.zoo.card("mnist-linf-0.1").weights
    teacher = parse_objective("ard:teacher=zoo:mnist-linf-0.1")
    assert isinstance(teacher, Distillation)
    assert weights_hash(teacher.network) == told
    assert weights_hash(SurrogateRef.of("zoo:mnist-linf-0.1").network()) == told


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one entry that a test may damage."""
    shutil.copytree(entries.ENTRIES / "mnist-linf-0.1", tmp_path / "mnist-linf-0.1")
    monkeypatch.setattr(entries, "ENTRIES", tmp_path)
    return tmp_path / "mnist-linf-0.1"


def test_damaged_weights_are_refused(copied: Path) -> None:
    file = copied / WEIGHTS_FILE
    content = bytearray(file.read_bytes())
    content[-3] ^= 64
    file.write_bytes(content)
    with pytest.raises(ModelError, match="was altered: its hash is") as raised:
        tp.zoo.load("mnist-linf-0.1")
    assert "\n" not in str(raised.value)
    file.write_bytes(content[:1000])
    with pytest.raises(ModelError, match="truncated or not a safetensors file"):
        tp.zoo.load("mnist-linf-0.1")


def test_a_damaged_card_is_refused(copied: Path) -> None:
    card = copied / entries.CARD_FILE
    told = json.loads(card.read_text("utf-8"))
    card.write_text(json.dumps({**told, "n": told["n"] - 1}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"is damaged: .*clean is of 10000 images and n is 9999"):
        tp.zoo.card("mnist-linf-0.1")
    card.write_text(json.dumps({**told, "weights": "0" * 16}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"the card of mnist-linf-0\.1 is of weights 0000"):
        tp.zoo.load("mnist-linf-0.1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"certified": {"hits": 9999, "n": 10000}}, "is damaged: .*are not in ascending order"),
        ({"name": "other"}, "the card in .* is that of other, not of mnist-linf-0.1"),
        ({"threat": "linf:0.2"}, "is of threat linf:0.2, and its folder has linf:0.1"),
        ({"data": "digits"}, "is of data digits, and its folder has mnist"),
        ({"data_hash": "0"}, "is of data with hash 0, and its folder has"),
    ],
)
def test_a_card_that_was_edited_is_refused(
    copied: Path, changed: dict[str, object], message: str
) -> None:
    card = copied / entries.CARD_FILE
    told = json.loads(card.read_text("utf-8"))
    card.write_text(json.dumps(told | changed), encoding="utf-8")
    with pytest.raises(ModelError, match=message) as raised:
        tp.zoo.load("mnist-linf-0.1")
    assert "\n" not in str(raised.value)
