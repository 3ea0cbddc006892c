"""Where the time of `make report` goes: stage by stage, notebooks against plain Python, imports, and rebuilds after an edit.

Runs in a fresh clone of the last commit, with nothing built, so commit before. The set-up of .venv is not counted. Where
notebooks run side by side (the preset's `at_once`), the stages add up to more than the whole.

Aims: 210 s, of which training 120; rebuilds 15, 3 and 2 s after an edit of figures.py, of report.typ and of nothing;
labkit 1.5 s beyond torch; 3 s of overhead a notebook.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import nbformat
import numpy as np
from common import interleave, show

from labkit.files import ROOT

NOTEBOOKS = ("1_eda", "2_train", "3_evaluate", "4_figures")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone, python = cloned(Path(folder))
        stages(clone, python)
        rebuilds(clone, python)
        imports(python)
        notebooks(clone, python)


def cloned(folder: Path) -> tuple[Path, Callable]:
    """A clone of the last commit in `folder`, and a function that runs Python in it with the arguments given."""
    clone = folder / "labkit"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone), "MPLBACKEND": "agg"}

    def python(*arguments):
        command = [sys.executable, *arguments]
        subprocess.run(command, cwd=clone, env=environment, check=True, capture_output=True)

    return clone, python


def stages(clone: Path, python, preset: str = "demo", *options: str) -> None:
    start = time.perf_counter()
    python("-m", "labkit", "report", preset, *options)
    total = time.perf_counter() - start
    rows, spans = [], {}
    for path in sorted((clone / "runs" / preset / "notebooks").glob("*.ipynb")):
        told = nbformat.read(path, as_version=4).metadata.papermill
        spans[path.stem] = tuple(datetime.fromisoformat(told[end]).timestamp() for end in ("start_time", "end_time"))
        rows.append([path.stem, f"{told.duration:.1f}"])
    trainings = covered([span for name, span in spans.items() if name.startswith("2_train")])
    other = total - covered(list(spans.values()))
    rows += [["drawing and packing films, starting Snakemake and papermill, pages, typst", f"{other:.1f}"]]
    rows += [["**all**", f"**{total:.1f}**"], ["of which a training runs", f"{trainings:.1f}"]]
    show([f"stage of `make report` ({preset})", "s"], rows)
    print()


def covered(spans: list[tuple[float, float]]) -> float:
    """How many seconds lie in at least one of the spans (start, end): notebooks run beside each other."""
    seconds, reached = 0.0, 0.0
    for start, end in sorted(spans):
        seconds += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return seconds


def rebuilds(clone: Path, python) -> None:
    rows = []
    edits = {"nothing": None, "report/report.typ": "// an edit\n", "labkit/figures.py": "# an edit\n"}
    for name, line in edits.items():
        seconds = []
        for number in range(3):
            if line:
                with open(clone / name, "a", encoding="utf-8") as file:
                    file.write(line)
            start = time.perf_counter()
            python("-m", "labkit", "report", "demo")
            seconds.append(time.perf_counter() - start)
        rows.append([name, f"{np.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"])
    show(["rebuild of demo after an edit of", "s"], rows)
    print()


def imports(python) -> None:
    modules = "labkit.training, labkit.evaluation, labkit.results, labkit.figures"
    variants = {
        "torch": lambda: python("-c", "import torch"),
        f"torch, {modules}": lambda: python("-c", f"import torch, {modules}"),
        "labkit.workflow (what `make report` starts with)": lambda: python("-c", "import labkit.workflow"),
    }
    seconds = interleave(variants, rounds=5)
    show(["import of", "s"], [[name, f"{np.median(values):.2f}"] for name, values in seconds.items()])
    print()


def notebooks(clone: Path, python) -> None:
    rows = []
    for name in NOTEBOOKS:
        cells = nbformat.read(clone / "notebooks" / f"{name}.ipynb", as_version=4).cells
        code = "In = ['']\n" + "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        # Kept runs are not made again: both ways do the same work after the first.
        (clone / f"{name}.py").write_text(code)
        variants = {
            "plain": lambda name=name: python(f"{name}.py"),
            "papermill": lambda name=name: python(
                "-m", "papermill", f"notebooks/{name}.ipynb", f"{name}-out.ipynb", "--no-progress-bar"
            ),
        }
        seconds = interleave(variants, rounds=3)
        overhead = seconds["papermill"] - seconds["plain"]
        rows.append([name, *(f"{np.median(values):.1f}" for values in (*seconds.values(), overhead))])
    show(["notebook (smoke, runs kept)", "plain Python, s", "papermill, s", "overhead, s"], rows)


if __name__ == "__main__":
    main()
