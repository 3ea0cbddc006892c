"""`make report`: pack the films, then let Snakemake run what is missing or out of date, and say in one line what failed."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from labkit import store
from labkit.errors import LabkitError
from labkit.experiment import load_all, require_runs
from labkit.files import ROOT, build_folder, shown


def report(preset: str, data: str = "") -> None:
    """Make the report of a preset: report/build/<preset>/report.pdf and report.html. Raises LabkitError if a step fails."""
    start = time.time()
    experiments = load_all(preset, data)
    require_runs(experiments)
    lock = _lock()
    for run in experiments:
        store.load(run)  # here rather than in a job, for its progress bar and its messages about files
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--cores", "all"]
    # Our lock does what Snakemake's does, but ends with the processes that hold it: a crash leaves nothing to clear up.
    command += ["--nolock", "--rerun-incomplete", "--quiet", "all"]
    # Snakemake reads the values as YAML: written as JSON, a path stays the text that it is.
    command += ["--config", f"preset={json.dumps(preset)}", f"data={json.dumps(data)}"]
    log = ROOT / "runs" / preset / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as messages:
        snakemake = subprocess.Popen(command, cwd=ROOT, stderr=messages, pass_fds=[lock])
        try:
            failed = snakemake.wait() != 0
        except KeyboardInterrupt:
            snakemake.wait()  # it got the interrupt too, and stops its jobs
            raise LabkitError(
                f"interrupted: finished runs and epochs are kept; `make report PRESET={preset}` goes on from there"
            ) from None
    if failed:
        raise LabkitError(_failure(preset, start, log))
    folder = build_folder(preset)
    print(f"{shown(folder / 'report.pdf')} and report.html are up to date ({time.time() - start:.0f} s)")


def _lock() -> int:
    """Hold the project's lock until this process and those it starts have ended; wait for it if another has it."""
    lock = os.open(ROOT / ".labkit.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(
            "another `make report` is at work in this folder, or what it started still is; waiting for it", flush=True
        )
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _failure(preset: str, since: float, log: Path) -> str:
    """The error of the notebook that failed, or else where to look for it."""
    for path in sorted((ROOT / "runs" / preset / "notebooks").glob("*.ipynb"), key=os.path.getmtime, reverse=True):
        if path.stat().st_mtime >= since and path.stat().st_size:
            cells = nbformat.read(path, as_version=4).cells
            errors = [out for cell in cells for out in cell.get("outputs", []) if out.output_type == "error"]
            if errors:
                return f"{' '.join(errors[0].evalue.split())} (executed notebook: {shown(path)})"
    return f"a step of the workflow failed; {shown(log)} and runs/{preset}/notebooks/*.err have the messages"
