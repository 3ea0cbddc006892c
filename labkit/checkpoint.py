"""Checkpoints on disk: written whole, checked when they are read, and never run as code."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path

import torch

from labkit.errors import LabkitError
from labkit.files import shown, written


class Damaged(LabkitError):
    """A checkpoint that is there but cannot be trusted."""


def save(path: Path, content: dict, keep: Path | None = None) -> None:
    """Write `content` (tensors, numbers, text, and dicts and lists of them) to `path`; the file before it becomes `keep`."""
    buffer = io.BytesIO()  # in memory first: of a full disk torch tells in words of its own, Python in an OSError
    torch.save(content, buffer)
    with written(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
        if keep and path.is_file():
            path.replace(keep)


def load(path: Path, device: torch.device) -> dict:
    """What `save` wrote, its tensors on `device`. Raises Damaged unless every byte of content is as it was written.

    A checkpoint is a zip archive, whose checksums (CRC-32) are compared. Only tensors and plain values are read from it:
    torch refuses anything that would run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise Damaged(f"{shown(path)}: its checksum is wrong")
        return torch.load(path, map_location=device, weights_only=True)
    except Damaged:
        raise
    # A damaged archive fails in as many ways as there are bytes; what it must not do is pass.
    except (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, EOFError, OSError, RuntimeError, ValueError,
            KeyError, NotImplementedError, UnicodeDecodeError, AttributeError, TypeError, IndexError) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:120]
        raise Damaged(f"{shown(path)}: is not a whole checkpoint ({reason})") from None
