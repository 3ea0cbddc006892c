"""One training by several processes, as torchrun starts them: what each takes of a batch, and what it hears of the first.

With one process, the usual case, everything here is what it would be without it.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from labkit.errors import LabkitError


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share() -> slice:
    """This process's films of a batch: with two, every other one. The shares differ by one film at most."""
    return slice(dist.get_rank(), None, processes()) if dist.is_initialized() else slice(None)


def wrapped(network: nn.Module) -> nn.Module:
    """The network whose backward pass also makes each gradient the mean of the processes'."""
    return nn.parallel.DistributedDataParallel(network) if dist.is_initialized() else network


def mean(values: Tensor) -> Tensor:
    """The mean of all processes' `values` (N,), of which each may have another number."""
    if not dist.is_initialized():
        return values.mean()
    total = torch.stack([values.sum(), values.new_tensor(len(values))])
    dist.all_reduce(total)
    return total[0] / total[1]


def of_first(value: Any) -> Any:
    """What the first process has for `value`; it waits for no answer, the others wait for it."""
    if not dist.is_initialized():
        return value
    told = [value]
    dist.broadcast_object_list(told)
    return told[0]


def check(films: int, batch: int, processes: int) -> None:
    """Raise LabkitError if the smallest batch of an epoch of `films` has fewer films than there are processes."""
    smallest = films % batch or batch
    if smallest < processes:
        raise LabkitError(
            f"batch: {films} films in batches of {batch} leave one of {smallest}, which is too few for {processes} "
            "processes; take another batch or fewer processes"
        )
