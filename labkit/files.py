"""Where things lie, and how a file is written so that no reader ever sees half of it."""

import fcntl
import json
import os
from contextlib import contextmanager
from pathlib import Path

# Relative paths that a user gives (DATA=..., data="...") count from here, whatever folder Jupyter was started in.
ROOT = Path(__file__).resolve().parent.parent


def resolve(path: str) -> Path:
    """A user's path as an absolute one; relative paths count from the project's root, and ~ is the home folder."""
    return ROOT / Path(path).expanduser()


def shown(path: Path) -> str:
    """A path as it is shown to people: relative to the project's root where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def build_folder(preset: str) -> Path:
    """Where what the report is made of lies, and the report itself."""
    return ROOT / "report" / "build" / preset


@contextmanager
def written(path: Path):
    """Yield a temporary path beside `path`; rename it to `path` once the block has ended well.

    The rename is atomic, so `path` is either the old file or the whole new one, even after a crash.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays, for libraries that choose a format by it.
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def lock(path: Path, holder: str) -> int:
    """Hold a lock on `path` until the file descriptor that is returned is closed; wait, and say so, if another has it.

    The kernel gives the lock back when its holders end, however they end: there is nothing to clear up after a crash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{holder} is at work in {shown(path.parent) or 'this folder'} already; waiting for it", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def write_json(path: Path, content: dict) -> None:
    """Write `content` as readable JSON. NaN is refused (ValueError): it is not JSON, and no result should hold one."""
    with written(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))
