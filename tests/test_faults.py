"""A few real faults of each kind in tests/faults.py (`make fuzz` does many), and those that have one right ending."""

import os
import pickle
import random
import shutil
import socket
import subprocess
import sys

import faults
import numpy as np
import pytest
import torch
from PIL import Image

from labkit import checkpoint, dataset, files, store
from labkit.errors import LabkitError
from labkit.training import fit


def test_damaged_films(home, copy):
    ended = faults.damaged_films(40, copy, random.Random(1))
    assert ended["refused"] > 5 and ended["used"] > 2


def test_damaged_results(home, copy):
    assert sum(faults.damaged_results(25, copy, random.Random(2)).values()) == 25


def test_killed_runs(tmp_path):
    project = faults.project_in(tmp_path / "a project")
    assert faults.killed_runs(4, project, "-c", faults.SCRIPT, choose=random.Random(3)) >= 4


def test_a_damaged_checkpoint_falls_back_and_says_so(smoke, capsys):
    whole = smoke(epochs=3)
    fit(whole)
    broken = whole.model_copy(update={"name": "broken"})
    fit(broken)
    (broken.folder / "training.json").unlink()
    content = (broken.folder / "last.pt").read_bytes()
    (broken.folder / "last.pt").write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    fit(broken)
    told = capsys.readouterr().out
    assert "last.pt: is not a whole checkpoint" in told and "going on from the epoch before it" in told
    assert "epoch 3/3" in told and "epoch 2/3" not in told
    states = [torch.load(run.folder / "best.pt", weights_only=True)["network"] for run in (whole, broken)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_checkpoint_of_another_run_is_not_taken(smoke, capsys):
    run, other = smoke("lung-bce", epochs=2), smoke("lung-bce_iou", epochs=1)
    fit(run)
    fit(other)
    (run.folder / "training.json").unlink()
    (run.folder / "previous.pt").unlink()
    shutil.copy(other.folder / "last.pt", run.folder / "last.pt")
    capsys.readouterr()
    fit(run)
    told = capsys.readouterr().out
    assert "is of another run" in told and "epoch 1/2" in told


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"network": Harm()}, tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Harm()))
    for name in ("evil.pt", "old.pt"):
        with pytest.raises(checkpoint.Damaged, match=name):
            checkpoint.load(tmp_path / name, torch.device("cpu"))
    assert not (tmp_path / "harm").exists()


def test_every_flipped_bit_of_content_is_found(tmp_path):
    path = tmp_path / "a.pt"
    checkpoint.save(path, {"network": {"w": torch.arange(64.0)}, "epoch": 3})
    content, choose = path.read_bytes(), random.Random(0)
    found = 0
    for _ in range(300):
        changed = bytearray(content)
        changed[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(changed)
        try:
            loaded = checkpoint.load(path, torch.device("cpu"))
            assert loaded["epoch"] == 3 and torch.equal(loaded["network"]["w"], torch.arange(64.0))
        except checkpoint.Damaged:
            found += 1
    assert found > 100


def test_a_json_file_with_another_digit_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"iou": 0.512})
    assert files.read_json(path) == {"iou": 0.512}
    path.write_text(path.read_text().replace("0.512", "0.912"))
    with pytest.raises(LabkitError, match="a.json: cannot be read .its checksum is wrong"):
        files.read_json(path)
    assert files.read_json(path, {}) == {}
    path.write_text("[1]")
    assert files.read_json(path, {}) == {}


def test_temporary_files_of_the_dead_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    left, alive = tmp_path / f".{dead.pid}@{host}.a.json", tmp_path / f".{os.getppid()}@{host}.a.json"
    elsewhere = tmp_path / f".{dead.pid}@another{host}.a.json"  # where that number may be a living process's
    left.write_text("half")
    alive.write_text("at work")
    elsewhere.write_text("at work")
    files.write_json(tmp_path / "a.json", {})
    assert not left.exists() and alive.exists() and elsewhere.exists()


LIMITED = """
import resource, sys
from labkit.errors import LabkitError
from labkit.presets import load
from labkit.training import fit
from labkit import store
run = load("smoke", "lung-bce", epochs=int(sys.argv[2]), base=8, data="films")
if sys.argv[1] != "0":
    store.load(run)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    fit(run)
except LabkitError as error:
    sys.exit(str(error))
"""


def in_project(project, *arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, **options
    )


def test_a_limit_on_file_size(tmp_path):
    """The checkpoint of base 8 has over 1 MB: it cannot be written, and what was there stays."""
    project = faults.project_in(tmp_path / "a project")
    assert in_project(project, "-c", LIMITED, "0", "2").returncode == 0
    folder = next(project.glob("runs/smoke/*/seed0"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    stopped = in_project(project, "-c", LIMITED, "300000", "3")  # another run: three epochs
    assert stopped.returncode == 1
    assert "last.pt: cannot be written (File too large)" in stopped.stderr.strip().splitlines()[-1]
    assert "what was there before is untouched" in stopped.stderr and "Traceback" not in stopped.stderr
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not list(project.glob("runs/smoke/*/seed0/.*.pt"))
    shutil.rmtree(project / "data" / "packs")
    packing = LIMITED.replace("    store.load(run)\n", "")
    stopped = in_project(project, "-c", packing, "20000", "3")
    assert stopped.returncode == 1 and "cannot be written" in stopped.stderr and "Traceback" not in stopped.stderr
    assert not list(project.glob("data/packs/*/*.npy"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB of its own; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here: that wants root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk, tmp_path):
    """Real films of a real disk: packing and training stop with a line, not with a signal."""
    project = faults.project_in(tmp_path / "a project")
    for name in ("data", "runs"):
        (project / name).mkdir(exist_ok=True)
    (project / "data" / "packs").symlink_to(small_disk)
    packing = LIMITED.replace("base=8", "base=8, size=512")  # 18 films of 512 x 512, twice: 9 MB
    stopped = in_project(project, "-c", packing, "0", "1")
    assert stopped.returncode == 1 and "No space left on device" in stopped.stderr.splitlines()[-1], stopped.stderr
    assert not list(small_disk.glob("*/*.npy"))
    (project / "data" / "packs").unlink()
    (project / "runs" / "smoke").symlink_to(small_disk)
    stopped = in_project(project, "-c", LIMITED, "0", "30")
    assert stopped.returncode == 1 and "No space left on device" in stopped.stderr.splitlines()[-1], stopped.stderr
    # With room again, the run goes on from what was kept, if anything was.
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    done = in_project(project, "-c", LIMITED, "0", "30")
    assert done.returncode == 0, done.stderr


def test_a_folder_that_may_not_be_written(smoke):
    """Root may write anywhere, so a child of this process becomes nobody first."""
    if os.geteuid():
        pytest.skip("needs root, to become a user who may not write")
    run = smoke(epochs=1)
    store.load(run)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        told = "nothing"
        try:
            os.setuid(65534)
            files.write_json(run.folder / "a.json", {})
        except LabkitError as error:
            told = str(error)
        finally:
            os.write(writer, told.encode())
            os._exit(0)
    os.waitpid(child, 0)
    assert "a.json: cannot be written (Permission denied)" in os.read(reader, 1000).decode()


def test_shapes_of_a_checkpoint_are_checked(smoke):
    from labkit.hardware import set_up_device
    from labkit.training import load_best

    run = smoke(epochs=1)
    fit(run)
    with pytest.raises(checkpoint.Damaged, match="best.pt: does not hold the network of lung-bce_iou"):
        load_best(run.model_copy(update={"base": 16}), set_up_device(run))


def test_a_symlink_loop_is_named(home, copy):
    loop = dataset.find_tree(copy, "lung") / "Train" / "Normal" / "images" / "loop.png"
    loop.symlink_to(loop)
    mask = loop.parent.parent / "lung masks" / "loop.png"
    Image.fromarray(np.zeros((256, 256), np.uint8)).save(mask)
    with pytest.raises(LabkitError, match="images/loop.png: cannot be read"):
        store.pack(copy, "lung", 64)
