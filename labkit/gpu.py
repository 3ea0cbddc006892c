"""Several GPUs in one machine: `python -m labkit.gpu COMMAND...` runs a command on one of them that is free.

`make report GPUS=4` starts each training and evaluation so. The command sees one GPU, which torch then calls "cuda".
"""

import fcntl
import os
import sys
import time

from labkit.errors import LabkitError
from labkit.files import ROOT


def visible(count: int) -> str:
    """The first `count` GPUs that torch can use, as CUDA_VISIBLE_DEVICES lists them. Raises LabkitError if there are fewer."""
    import torch  # only here: a job should not wait for it twice

    usable = torch.cuda.device_count()
    if count > usable:  # a job without a GPU would train on the CPU, and nobody would know why it is slow
        raise LabkitError(f"gpus: {count} are asked for, and torch can use {usable} here")
    listed = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(str(number) for number in range(usable))
    return ",".join(listed.split(",")[:count])


def take() -> str:
    """Take a GPU from those that CUDA_VISIBLE_DEVICES lists, and return its name; wait, and say so, if none is free."""
    names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    name = next(filter(_taken, names), None)
    if name is None:
        print(f"no GPU of {', '.join(names)} is free; waiting for one", flush=True)
    while name is None:
        time.sleep(1)
        name = next(filter(_taken, names), None)
    return name


def _taken(name: str) -> bool:
    """Try to take a GPU, by a lock on a file. The program that replaces this one has it until it ends, however it ends."""
    descriptor = os.open(ROOT / f".labkit.gpu-{name.replace('/', '-')}.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    os.set_inheritable(descriptor, True)
    return True


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = take()
    os.execvp(sys.argv[1], sys.argv[1:])
