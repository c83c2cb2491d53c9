"""The processes that tune one model together: one alone, or several started by torchrun, plain or sharded."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from hooks.load import Mllm
from stimuli.errors import InputError

T = TypeVar("T")


class Processes:
    """What of a step is this process's, and how the processes agree; accelerate does the work.

    A sharded run (FSDP) is set by accelerate's own configuration, in the environment of the processes.
    """

    def __init__(self, mllm: Mllm) -> None:
        """Join the other processes.

        Args:
            mllm: the model that will be tuned, for its device.

        Raises:
            InputError: DeepSpeed; or several processes, and the model is on another device than this one's.
        """
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.state import AcceleratorState

        if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
            raise InputError(
                "DeepSpeed was asked for (ACCELERATE_USE_DEEPSPEED). Expected plain processes or FSDP. Leave it out."
            )
        on_cpu = mllm.device.type == "cpu"
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            AcceleratorState._reset_state(reset_partial_state=True)  # another model of this session may be elsewhere
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # blocks behind the layer that the projector reads
        self.accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[unused])
        if on_cpu and self.accelerator.num_processes > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
            self._shard_on_cpu()
        self.sharded = str(self.accelerator.distributed_type).rpartition(".")[2] == "FSDP"
        """Whether each process holds a part of the weights only."""
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.first = self.rank == 0
        here = self.accelerator.device
        if self.world > 1 and here.type != "cpu" and mllm.device != here:
            raise InputError(
                f"Process {self.rank} of {self.world} computes on {here}, but its model is on {mllm.device}. Load it there: "
                f"sn.load(..., device='{here}'), as `snellen tune` does."
            )

    def _shard_on_cpu(self) -> None:
        """Shard although there is no GPU: accelerate leaves that out without a word."""
        from accelerate import DistributedType, FullyShardedDataParallelPlugin

        self.accelerator.state.distributed_type = DistributedType.FSDP
        self.accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()

    def prepare(self, student: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """The model and its optimizer, wrapped for several processes."""
        placed = [True, True] if self.sharded else [False, False]
        prepared = self.accelerator.prepare(student, optimizer, device_placement=placed)
        return prepared[0], prepared[1]

    def own(self, micro_batches: Sequence[T]) -> Sequence[T]:
        """This process's micro-batches of a step."""
        return micro_batches[self.rank :: self.world]

    def apart(self, student: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """A backward pass whose gradients wait for the last micro-batch before the processes add them up."""
        return nullcontext() if last else self.accelerator.no_sync(student)

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the processes."""
        if self.world == 1:
            return values
        summed: torch.Tensor = self.accelerator.reduce(values.to(self.accelerator.device), "sum")
        return summed.cpu()

    def as_first(self, value: float) -> float:
        """The first process's number."""
        return float(self.sums(torch.tensor([value if self.first else 0.0], dtype=torch.float64))[0])

    def all_rows(self, rows: list[Any]) -> list[Any]:
        """The JSON-able rows of all processes, those of the first in front."""
        if self.world == 1:
            return rows
        from accelerate.utils import gather_object

        return [row for part in gather_object([json.dumps(rows)]) for row in json.loads(part)]

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of which each process holds a part, put together on the CPU; all processes must call this."""
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().cpu()


def put(into: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into one of which each process may hold a part."""
    if hasattr(into, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        value = distribute_tensor(value.to(into.device), into.device_mesh, into.placements)
    with torch.no_grad():
        into.copy_(value)
