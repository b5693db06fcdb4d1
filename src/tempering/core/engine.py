"""Device, precision and processes of a job, under Lightning Fabric."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from tempering.core.devices import Device, parse_device
from tempering.core.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class OneProcess:
    """Stands for Fabric in a single process, until training starts: Fabric takes time to import.

    Attributes:
        chosen: Where to compute.
        precision: Of training.
    """

    chosen: Device
    precision: str
    global_rank = 0
    world_size = 1

    @property
    def device(self) -> torch.device:
        """Device on which tensors are put."""
        at = f":{self.chosen.index or 0}" if self.chosen.kind == "cuda" else ""
        return torch.device(f"{self.chosen.kind}{at}")

    @cached_property
    def launched(self) -> Fabric:
        """Fabric itself."""
        return _launch(self.chosen, self.precision)


@dataclass(frozen=True)
class Engine:
    """The device of this process, and the collective operations between all processes.

    Attributes:
        fabric: The launched Fabric of several processes, or what stands for that of one.
        precision: `32-true` or `bf16-mixed`; verdicts are float32 in either.
    """

    fabric: Fabric | OneProcess
    precision: str

    @property
    def device(self) -> torch.device:
        """Device on which tensors are put."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """Index of this process, from 0."""
        return self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self.fabric.world_size

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints: rank 0."""
        return self.rank == 0

    @property
    def proposal_dtype(self) -> torch.dtype:
        """The dtype in which training computes adversarial samples."""
        return torch.bfloat16 if self.precision == "bf16-mixed" else torch.float32

    @property
    def launched(self) -> Fabric:
        """Fabric, for training."""
        return self.fabric.launched if isinstance(self.fabric, OneProcess) else self.fabric

    def shard(self, n: int) -> Tensor:
        """Rows that this process works on: every `world_size`-th of n, int64."""
        return torch.arange(n)[self.rank :: self.world_size]

    def gather(self, values: Tensor, n: int) -> Tensor:
        """Join the shards of all processes in the order of the rows.

        Args:
            values: Results of this process for `shard(n)`, one a row, shape (len(shard), ...).
            n: Number of rows over all processes.

        Returns:
            All rows, shape (n, ...), on the CPU, equal in every process.
        """
        if self.world_size == 1:
            return values.cpu()
        longest = -(-n // self.world_size)
        padded = values.new_zeros((longest, *values.shape[1:]))
        padded[: len(values)] = values
        gathered = self.launched.all_gather(padded)
        if not isinstance(gathered, Tensor):
            raise TypeError(f"all_gather returned {type(gathered).__name__}")
        return gathered.transpose(0, 1).flatten(0, 1)[:n].cpu()

    def reduce_sum(self, *values: int) -> list[int]:
        """Sum integers over all processes; the sums are equal in every process."""
        mine = torch.tensor([values], dtype=torch.int64)
        return [int(value) for value in self.gather(mine, self.world_size).sum(0)]

    def broadcast(self, value: T) -> T:
        """The value of the main process, in every process; any value that can be pickled."""
        if isinstance(self.fabric, OneProcess):
            return value
        sent: T = self.fabric.broadcast(value)
        return sent

    def barrier(self) -> None:
        """Wait until every process has come this far."""
        if not isinstance(self.fabric, OneProcess):
            self.fabric.barrier()


def bare_module(model: nn.Module) -> nn.Module:
    """The network itself, where Fabric has wrapped it."""
    wrappers = sys.modules.get("lightning_fabric.wrappers")
    if wrappers is None or not isinstance(model, wrappers._FabricModule):
        return model
    inner: nn.Module = model.module
    return inner


def _leave() -> None:
    """Destroy the process group: its threads may otherwise abort a process that exits."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are faster than float32: on CPUs with AMX, on new GPUs."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def start_engine(precision: str = "auto", device: object = "auto") -> Engine:
    """The engine of this process; under `torchrun` it joins the other processes.

    Args:
        precision: `32-true`, `bf16-mixed`, or `auto`: bfloat16 where it is faster.
        device: `auto` (a CUDA GPU where there is one, otherwise the CPU), `cpu`, `cuda`, `cuda:N`
            or `mps`.

    Returns:
        The engine of this process.

    Raises:
        UsageError: If the precision is unknown, or there is no such device.

    Example:
        >>> start_engine("32-true").world_size
        1
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: give one of {', '.join(PRECISIONS)}")
    chosen = parse_device(device)
    if precision == "auto":
        fast = fast_bfloat16(torch.device(chosen.kind))
        precision = "bf16-mixed" if fast else "32-true"
    if _processes() == 1:
        return Engine(OneProcess(chosen, precision), precision)
    atexit.register(_leave)
    return Engine(_launch(chosen, precision), precision)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _launch(chosen: Device, precision: str) -> Fabric:
    from lightning_fabric import Fabric

    world = _processes()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=chosen.kind,
            devices=local if chosen.index is None else [chosen.index],
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    return fabric
