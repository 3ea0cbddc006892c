"""Which device computes, and in which number format."""

import ctypes
from contextlib import AbstractContextManager

import torch

from labkit.errors import LabkitError
from labkit.experiment import Experiment


def set_up_device(experiment: Experiment) -> torch.device:
    """The device that an experiment asks for; sets threads, memory and what makes results repeat, too.

    Raises LabkitError if there is no such GPU.
    """
    available = torch.cuda.is_available()
    if experiment.device == "cuda" and not available:
        raise LabkitError("device: this machine has no CUDA GPU that torch can use; use 'auto' or 'cpu'")
    torch.set_num_threads(experiment.threads or DEFAULT_THREADS)
    keep_memory()
    # Convolutions on a GPU may otherwise pick another algorithm each time, and with it other last digits.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # "fp32" means that: a GPU would otherwise round to 10 bits in convolutions
    return torch.device("cuda" if available and experiment.device != "cpu" else "cpu")


def autocast(experiment: Experiment, device: torch.device) -> AbstractContextManager:
    """The context in which the network runs: bfloat16 where asked for, or where the processor computes in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision_of(experiment, device) == "bf16")


def precision_of(experiment: Experiment, device: torch.device) -> str:
    """ "bf16" or "fp32": the format that "auto" comes to on this device."""
    if experiment.precision != "auto":
        return experiment.precision
    return "bf16" if _has_bf16(device) else "fp32"


def keep_memory() -> None:
    """Let glibc keep the memory of large tensors for the next step instead of giving it back to the system each time.

    A step frees and asks for the same hundreds of megabytes again and again. Changes no number. Without glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    # Older versions of glibc refuse more than 32 MB; and the other two alone would make it worse, for they end its own tuning.
    if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**28)


def _has_bf16(device: torch.device) -> bool:
    # In hardware, that is: emulated, bfloat16 would be slower than float32 and less exact.
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # as in malloc.h; values in bytes
DEFAULT_THREADS = torch.get_num_threads()
