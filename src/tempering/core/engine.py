"""One process or many, CPU or GPU: the same loops, under Lightning Fabric."""

from __future__ import annotations

import atexit
import os
import warnings
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from tempering.core.errors import UsageError

PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class Engine:
    """Where computation runs, and this process's share of it.

    Attributes:
        fabric: The launched Fabric.
        precision: `32-true` or `bf16-mixed`; verdicts are float32 in either.
    """

    fabric: Fabric
    precision: str

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """This process's number."""
        return self.fabric.global_rank

    @property
    def processes(self) -> int:
        """How many processes share the work."""
        return self.fabric.world_size

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def proposal_dtype(self) -> torch.dtype:
        """The dtype in which training makes adversarial samples."""
        return torch.bfloat16 if self.precision == "bf16-mixed" else torch.float32

    def share(self, n: int) -> Tensor:
        """The rows of n that are this process's own, shape (about n / processes,), int64."""
        return torch.arange(n)[self.rank :: self.processes]

    def collect(self, values: Tensor, n: int) -> Tensor:
        """Put the shares of all processes together again, in order.

        Args:
            values: What this process computed for its `share(n)`, first dimension rows.
            n: Rows in all.

        Returns:
            All rows, shape (n, ...), on the CPU, equal in every process.
        """
        if self.processes == 1:
            return values.cpu()
        longest = -(-n // self.processes)
        padded = values.new_zeros((longest, *values.shape[1:]))
        padded[: len(values)] = values
        gathered = self.fabric.all_gather(padded)
        if not isinstance(gathered, Tensor):
            raise TypeError(f"all_gather returned {type(gathered).__name__}")
        return gathered.transpose(0, 1).flatten(0, 1)[:n].cpu()

    def total(self, *values: int) -> list[int]:
        """Whole numbers of all processes added up, equal in every process."""
        mine = torch.tensor([values], dtype=torch.int64)
        return [int(value) for value in self.collect(mine, self.processes).sum(0)]

    def agree(self, value: bool) -> bool:
        """The lead process's answer, in every process."""
        return bool(self.fabric.broadcast(value))

    def same(self, text: str) -> str:
        """The lead process's text, in every process."""
        return str(self.fabric.broadcast(text))

    def wait(self) -> None:
        """Wait for all processes."""
        self.fabric.barrier()


def _leave() -> None:
    """End the process group, whose threads may otherwise abort a process that exits."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix work is faster here; on CPUs AVX-512 alone measured slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def start_engine(precision: str = "auto") -> Engine:
    """Start Fabric; under `torchrun` this joins the other processes.

    Args:
        precision: `32-true`, `bf16-mixed`, or `auto` for bfloat16 where the processor has it.

    Returns:
        The engine of this process.

    Raises:
        UsageError: If the precision is unknown.

    Example:
        >>> start_engine("32-true").processes
        1
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: give one of {', '.join(PRECISIONS)}")
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        fast = fast_bfloat16(torch.device(accelerator))
        precision = "bf16-mixed" if fast else "32-true"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    if world > 1:
        atexit.register(_leave)
    return Engine(fabric, precision)
