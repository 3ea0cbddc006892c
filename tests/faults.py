"""Real faults: processes killed, files damaged. tests/test_faults.py does a few of them, `make fuzz` many.

Every fault must end in one of two ways: the same results as without it, or an error of one line that names the file.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from labkit import dataset, files, phantom, store
from labkit.errors import LabkitError
from labkit.evaluation import evaluate
from labkit.presets import load

SOURCES = ("labkit", "notebooks", "workflow", "report")
SCRIPT = """
from labkit.evaluation import evaluate
from labkit.presets import load
evaluate(load("smoke", "infection-bce_iou", epochs=8, size=32, base=2, patience=0, data="films"))
"""

WITH_ROOT = ("files", "phantom", "store", "experiment")  # modules of labkit that write below their ROOT


def copy_sources(folder: Path) -> None:
    """The project's own files, without what was made of them."""
    ignored = shutil.ignore_patterns("build", "__pycache__", ".ipynb_checkpoints")
    for name in SOURCES:
        shutil.copytree(files.ROOT / name, folder / name, ignore=ignored)


def project_in(folder: Path) -> Path:
    """A copy of the project's sources with a few phantom films, in which processes can be killed."""
    copy_sources(folder)
    phantom.write_tree(folder / "films", films=12, seed=3)
    return folder


def start(project: Path, *arguments: str) -> subprocess.Popen:
    """Python in the project, as the leader of its own group of processes."""
    environment = os.environ | {"PYTHONPATH": str(project)}
    with open(project / "said.txt", "ab") as said:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=project, env=environment, stdout=said, stderr=said, start_new_session=True
        )


def weights_of(folder: Path) -> str:
    """A hash over a run's best network."""
    state = torch.load(folder / "best.pt", weights_only=True)["network"]
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest()


def results_of(project: Path) -> dict:
    """What a run left that must not depend on how often it was killed: weights, history and scores of every run."""
    found = {}
    for folder in sorted(path.parent for path in project.glob("runs/*/*/*/evaluation.json")):
        name = folder.parent.name
        history = pd.read_csv(folder / "history.csv").drop(columns="seconds").to_csv()
        found[name] = weights_of(folder), history, (folder / "val.csv").read_bytes(), (folder / "test.csv").read_bytes()
        left = [path.name for path in folder.glob(".*.*")]
        assert not left, f"{name}: temporary files are left: {left}"
    return found


def members(session: int, project: Path) -> list[int]:
    """The processes of a session: what `start` started, and what that started; and its kernels, which have their own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            kernel = (
                b"ipykernel_launcher" in (folder / "cmdline").read_bytes() and (folder / "cwd").readlink() == project
            )
        except OSError:
            continue
        if (int(fields[3]) == session or kernel) and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def killed_runs(kills: int, project: Path, *arguments: str, one: bool = False, choose: random.Random) -> int:
    """Kill what `arguments` start at random moments, starting it again each time; returns how many kills met it alive.

    `one`: a random process of the group instead of all. After each whole run the results are compared with those of an
    undisturbed one, removed, and made again, until there were `kills` kills.
    """
    shutil.rmtree(project / "runs", ignore_errors=True)  # of another kind
    begin = time.perf_counter()
    assert start(project, *arguments).wait() == 0, (project / "said.txt").read_text()[-2000:]
    whole = time.perf_counter() - begin
    wanted, done = results_of(project), 0
    assert wanted
    while done < kills:
        shutil.rmtree(project / "runs")
        shutil.rmtree(project / "data", ignore_errors=True)
        shutil.rmtree(project / "report" / "build", ignore_errors=True)
        while True:
            process = start(project, *arguments)
            try:
                # The later kills of a run are late ones too: what is left to do gets less and less.
                code = process.wait(choose.uniform(0.2, 1.0) * whole if done < kills else None)
                assert code == 0 or one, (project / "said.txt").read_text()[-2000:]
                if code == 0:
                    break
            except subprocess.TimeoutExpired:
                group = members(process.pid, project)
                for pid in [choose.choice(group)] if one and group else group:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                process.wait()
                done += 1
        assert results_of(project) == wanted, "killed and undisturbed runs differ"
    return done


def damage(path: Path, choose: random.Random) -> str:
    """Damage a file in a random way; returns which."""
    content = bytearray(path.read_bytes()) or bytearray(1)
    kind = choose.choice(["truncate", "empty", "flip", "flip", "flip", "zero", "append", "replace", "remove"])
    if kind == "truncate":
        content = content[: choose.randrange(len(content))]
    elif kind == "empty":
        content = bytearray()
    elif kind == "flip":
        for _ in range(choose.choice([1, 1, 4, 64])):
            content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
    elif kind == "zero":
        begin = choose.randrange(len(content))
        content[begin : begin + 512] = bytes(len(content[begin : begin + 512]))
    elif kind == "append":
        content += choose.randbytes(64)
    elif kind == "replace":
        content = choose.randbytes(len(content))
    if kind == "remove":
        path.unlink()
    else:
        path.write_bytes(content)
    return kind


def damaged_films(count: int, root: Path, choose: random.Random) -> dict[str, int]:
    """Damage a film or mask, pack, and see: an error that names the file, or a pack that holds what the file holds."""
    ended = {"refused": 0, "used": 0}
    originals = [Path(path) for kind in ("image", "mask", "lung") for path in dataset.index(root, "infection")[kind]]
    for _ in range(count):
        path = choose.choice(originals)
        kept = path.read_bytes()
        try:
            kind = damage(path, choose)
            try:
                pack = store.pack(root, "infection", 256)
            except LabkitError as error:
                # A mask that is gone is missed by its film, which has the same name.
                assert path.name in str(error) and "\n" not in str(error), f"{kind} {path}: {error}"
                ended["refused"] += 1
                continue
            if kind == "remove":  # a film without which there are still films
                assert path.parent.name == "images" and str(path) not in set(pack.samples["image"])
            else:
                row = pack.samples.index[(pack.samples[["image", "mask", "lung"]] == str(path)).any(axis=1)][0]
                held = {"images": pack.images, "lung masks": pack.lungs, "infection masks": pack.masks}[
                    path.parent.name
                ]
                truth = np.asarray(Image.open(path).convert("L"))
                assert (held[row] == (truth if path.parent.name == "images" else truth > 127)).all(), f"{kind} {path}"
            ended["used"] += 1
        finally:
            path.write_bytes(kept)
    return ended


def damaged_results(count: int, root: Path, choose: random.Random) -> dict[str, int]:
    """Damage what a run or a pack wrote, run again, and compare: the results must be the same as before."""
    run = load("smoke", "infection-bce", data=str(root), epochs=2, size=16, base=1)
    ended = {}

    def made() -> tuple:
        evaluate(run)
        scores = files.read_json(run.folder / "evaluation.json")
        return weights_of(run.folder), (run.folder / "test.csv").read_bytes(), scores["test"], scores["val"]

    wanted = made()
    pack = store.folder_of(root, "infection", 16)
    for _ in range(count):
        path = choose.choice(sorted([*run.folder.glob("[!.]*"), *pack.glob("*")]))
        kind = damage(path, choose)
        if choose.random() < 0.5:  # as if it had been interrupted as well: what is left of the training is gone on from
            (run.folder / "training.json").unlink(missing_ok=True)
        assert made() == wanted, f"{kind} {path.name}: other results"
        ended[path.name] = ended.get(path.name, 0) + 1
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=650)
    parser.add_argument("--results", type=int, default=350)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--report-kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    choose = random.Random(given.seed)
    print("| fault | tried | how they ended |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        project = project_in(Path(name) / "a project")
        for module in WITH_ROOT:
            setattr(sys.modules[f"labkit.{module}"], "ROOT", project)
        ended = damaged_films(given.films, project / "films", choose)
        told = f"{ended['refused']} refused by name, {ended['used']} used as the file holds it, none wrong"
        print(f"| a film or mask damaged, then packed | {given.films} | {told} |", flush=True)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # a line an epoch
            ended = damaged_results(given.results, project / "films", choose)
        told = "all made again, to the same weights and scores: " + ", ".join(
            f"{n} {k}" for k, n in sorted(ended.items())
        )
        print(f"| a file of a pack or run damaged, then run | {given.results} | {told} |", flush=True)
        done = killed_runs(given.kills, project, "-c", SCRIPT, choose=choose)
        told = "all ended with the weights, history and scores of an undisturbed run, bit for bit"
        print(f"| `kill -9` of packing, training and scoring | {done} | {told} |", flush=True)
        done = killed_runs(given.report_kills, project, "-m", "labkit", "report", "smoke", one=True, choose=choose)
        print(f"| `kill -9` of one process of `make report` | {done} | {told} |", flush=True)


if __name__ == "__main__":
    main()
