"""Where things lie, and how a file is written so that no reader ever sees half of it."""

import fcntl
import glob
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash

from labkit.errors import LabkitError

# Relative paths that a user gives (DATA=..., data="...") count from here, whatever folder Jupyter was started in.
ROOT = Path(__file__).resolve().parent.parent


def resolve(path: str) -> Path:
    """A user's path as an absolute one; relative paths count from the project's root, and ~ is the home folder.

    Raises LabkitError for a home folder that is not known.
    """
    try:
        return ROOT / Path(path).expanduser()
    except RuntimeError:
        raise LabkitError(f"{shown(path)}: that home folder is not known") from None


def shown(path: str | Path) -> str:
    """A path as it is shown to people, on one line: relative to the project's root where it lies inside."""
    path = Path(path)
    text = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) and path != ROOT else str(path)
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def is_text(path: str | Path) -> bool:
    """Whether a file's name can be written into a table: on disk it may hold any bytes, here it must be UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def build_folder(preset: str) -> Path:
    """Where what the report is made of lies, and the report itself."""
    return ROOT / "report" / "build" / preset


@contextmanager
def writing(path: Path, advice: str):
    """Turn an OSError in the block into a LabkitError that says that `path` cannot be written, why, and what to do."""
    try:
        yield
    except OSError as error:
        raise LabkitError(f"{shown(path)}: cannot be written ({error.strerror or error}); {advice}") from None


@contextmanager
def written(path: Path):
    """Yield a temporary path beside `path`; rename it to `path` once the block has ended well.

    The rename is atomic, so `path` is either the old file or the whole new one, even after a crash.
    """
    path = Path(path)
    # The ending stays, for libraries that choose a format by it.
    temporary = path.with_name(f".{os.getpid()}@{socket.gethostname()}.{path.name}")
    try:
        with writing(path, "what was there before is untouched"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _forget_dead_writers(path)
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _forget_dead_writers(path: Path) -> None:
    """Remove temporary files for `path` whose process, one of this machine, was killed before it could."""
    for left in path.parent.glob(f".*@{glob.escape(f'{socket.gethostname()}.{path.name}')}"):
        pid = left.name[1:].partition("@")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            left.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, holder: str) -> Iterator[int]:
    """Hold a lock on `path`; wait, and say so, if another has it. As a context: the file descriptor that holds it.

    A process that is given the descriptor holds the lock too. The kernel gives it back when its holders end, however they
    end: there is nothing to clear up after a crash.
    Raises LabkitError where the file cannot be made.
    """
    with writing(path.parent, "work in a folder that you may write to"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{holder} is at work in {shown(path.parent)} already; waiting for it", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def checksum(path: str | Path) -> str:
    """The XXH3-128 of a file's bytes, as 32 hexadecimal digits: tells damage, and one content from another.

    It is as quick as memory is read, but not made to stop somebody who wants two contents to have the same.
    """
    found = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def intact(path: Path) -> bool:
    """Whether a JSON file is there and the files beside it have the checksums that its entry "files" gives."""
    sums = read_json(path, {}).get("files")
    if not sums:
        return False
    files = {path.parent / name: wanted for name, wanted in sums.items()}
    return all(file.is_file() and checksum(file) == wanted for file, wanted in files.items())


def write_json(path: Path, content: dict) -> None:
    """Write `content` as readable JSON with a checksum. NaN is refused (ValueError): no result should hold one."""
    content = json.loads(json.dumps(content, allow_nan=False))
    with written(path) as temporary:
        text = json.dumps(content | {"checksum": _checksum(content)}, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, instead: dict | None = None) -> dict:
    """What `write_json` wrote. Where there is no such file, or a damaged one: `instead`, or LabkitError without it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        # Files written by hand have no checksum.
        if content.pop("checksum", None) not in (None, _checksum(content)):
            raise ValueError("its checksum is wrong")
        return content
    except (OSError, ValueError, AttributeError, TypeError) as error:  # the last two: JSON, but not of an object
        if instead is not None:
            return instead
        raise LabkitError(f"{shown(path)}: cannot be read ({error}); remove it and run again") from None


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
