"""The engine: rows are sharded over processes and gathered in order."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tempering.core.engine import Engine, start_engine
from tempering.core.errors import UsageError


@pytest.fixture(scope="module")
def engine() -> Engine:
    return start_engine("32-true")


def test_one_process_works_on_all_rows(engine: Engine) -> None:
    assert (engine.world_size, engine.rank, engine.is_main) == (1, 0, True)
    assert engine.shard(5).tolist() == [0, 1, 2, 3, 4]
    assert engine.gather(torch.arange(5), 5).tolist() == [0, 1, 2, 3, 4]
    assert engine.broadcast(True) is True
    assert engine.broadcast("runs/a") == "runs/a"
    assert engine.reduce_sum(3, 4) == [3, 4]
    engine.barrier()


@dataclass
class OneOfMany:
    """Stands in for a Fabric whose processes have all finished their shard."""

    global_rank: int
    world_size: int
    shards: tuple[Tensor, ...] = ()

    def all_gather(self, own: Tensor) -> Tensor:
        padded = [own.new_zeros(own.shape) for _ in self.shards]
        for place, shard in zip(padded, self.shards, strict=True):
            place[: len(shard)] = shard
        assert torch.equal(padded[self.global_rank], own)
        return torch.stack(padded)


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("n", [0, 1, 2, 6, 7])
@pytest.mark.parametrize("trailing", [(), (2, 3)])
def test_shards_of_many_processes_are_gathered_in_order(
    processes: int, n: int, trailing: tuple[int, ...]
) -> None:
    values = torch.randn(n, *trailing)
    engines = [Engine(OneOfMany(rank, processes), "32-true") for rank in range(processes)]  # type: ignore[arg-type]
    rows = [engine.shard(n) for engine in engines]
    assert sorted(torch.cat(rows).tolist()) == list(range(n))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    shards = tuple(values[own] for own in rows)
    for rank in range(processes):
        fabric = OneOfMany(rank, processes, shards)
        assert torch.equal(Engine(fabric, "32-true").gather(shards[rank], n), values)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["16-true", "float32", ""])
def test_an_unknown_precision_is_refused(precision: str) -> None:
    with pytest.raises(UsageError, match="give one of auto, 32-true, bf16-mixed"):
        start_engine(precision)


def test_precision_decides_the_dtype_of_proposals() -> None:
    assert start_engine("32-true").proposal_dtype == torch.float32
    assert start_engine("bf16-mixed").proposal_dtype == torch.bfloat16
    assert start_engine("auto").precision in ("32-true", "bf16-mixed")


def test_fabric_is_imported_where_training_starts() -> None:
    code = """
import sys
import torch
from tempering.core.engine import bare_module, start_engine
engine = start_engine("32-true")
assert engine.device == torch.device("cpu") and engine.broadcast(3) == 3
import tempering.app.evaluate, tempering.app.certify
assert not any(name.startswith("lightning") for name in sys.modules)
net = torch.nn.Linear(1, 1)
assert bare_module(net) is net
assert bare_module(engine.launched.setup(net)) is net
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
