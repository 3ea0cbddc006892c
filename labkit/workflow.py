"""`make report`: pack the films, then let Snakemake run what is missing or out of date, and say in one line what failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from labkit import dataset, gpu, store
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import ROOT, build_folder, lock, read_json, resolve, shown, writing
from labkit.presets import load_all, load_preset, reference_runs


def report(preset: str, data: str = "", profile: str = "", gpus: int = 0) -> None:
    """Make the report of a preset: report/build/<preset>/report.pdf and report.html. Raises LabkitError if a step fails.

    `profile`: a folder of workflow/profiles, which says where the jobs run; without one, on this machine, as many notebooks at
    once as the preset's `at_once` says.
    `gpus`: so many at once instead, each with a GPU of this machine and its share of the cores.
    """
    start = time.time()
    experiments = load_all(preset, data)
    reference_runs(experiments)  # or an error
    if profile and not (resolve(profile) / "config.yaml").is_file():
        raise LabkitError(f"profile: {shown(resolve(profile))} has no config.yaml; see workflow/profiles")
    if profile and gpus:
        raise LabkitError("gpus: is for this machine; with a profile, that says how many a job gets")
    environment = os.environ | {"PRESET": preset}  # for profiles, which may name runs/$PRESET
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpu.visible(gpus)  # each job takes one of these
    # Experiments of a task share their pack: each is looked at once, whatever the number of experiments.
    folder_of = {run.folder: store.folder_of(store.root_of(run), run.task, run.size) for run in experiments}
    shared = {folder_of[run.folder]: run for run in experiments}
    for run in shared.values():
        dataset.index(store.root_of(run), run.task)  # all folders are looked at before the first film is packed
    log = ROOT / "runs" / preset / "snakemake.log"
    with lock(ROOT / ".labkit.lock", "another `make report`, or what one started,") as held:
        # Packed here rather than in a job, for the progress bar and the messages about files.
        packs = {folder: store.load(run) for folder, run in shared.items()}
        for run in experiments:
            _forget_other_films(run, packs[folder_of[run.folder]])
        command = _command(preset, data, profile, gpus, experiments)
        with writing(log, "make it writable"):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
        if profile:
            print(f"jobs run as {shown(resolve(profile))} says; {shown(log)} tells how far they are", flush=True)
        with open(log, "w", encoding="utf-8") as messages:
            # In a group of its own, so that it gets an interrupt from us alone, whether we got it from a terminal or by `kill`.
            snakemake = subprocess.Popen(
                command, cwd=ROOT, env=environment, stderr=messages, pass_fds=[held], process_group=0
            )
            try:
                failed = snakemake.wait() != 0
            except KeyboardInterrupt:
                os.killpg(snakemake.pid, signal.SIGINT)
                snakemake.wait()
                raise LabkitError(
                    f"interrupted: finished runs and epochs are kept; `make report PRESET={preset}` goes on from there"
                ) from None
    if failed:
        raise LabkitError(_failure(preset, start, log))
    folder = build_folder(preset)
    print(f"{shown(folder / 'report.pdf')} and report.html are up to date ({time.time() - start:.0f} s)")


def _command(preset: str, data: str, profile: str, gpus: int, experiments: list[Experiment]) -> list[str]:
    """What Snakemake is started by."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile"]
    if profile:
        command += ["--profile", str(resolve(profile))]
    else:
        at_once = gpus or load_preset(preset).at_once
        # All but errors: what Snakemake cannot start stands in its log then.
        command += ["--quiet", "rules", "progress", "host", "reason"]
        command += ["--cores", "all", "--resources", f"at_once={at_once}"]
    # Our lock does what Snakemake's does, but ends with its holders: a crash leaves nothing to clear up.
    command += ["--nolock", "--rerun-incomplete"]
    # Snakemake's own choice starts a solver for each choice of jobs, and hangs for ever if it gets SIGTERM meanwhile; so it
    # does at some other moments, but those are short.
    command += ["--scheduler", "greedy"]
    command += ["--forcerun", *unshown(preset, experiments)]
    return command + ["--config", configured(preset, data, gpus)]


def configured(preset: str, data: str = "", gpus: int = 0) -> str:
    """What the Snakefile is told.

    As JSON in hexadecimal digits, so that any path stays what it is: Snakemake takes quotes off a value and reads it as YAML,
    and a cluster's jobs have it in a shell script.
    """
    return f"run={json.dumps({'preset': preset, 'data': data, 'gpus': gpus}).encode().hex()}"


def _forget_other_films(run: Experiment, pack: store.Pack) -> None:
    """Remove the marks of completion of results that were made from other films: Snakemake knows files, not their films."""
    eda, made = build_folder(run.preset) / "eda.json", run.folder / "experiment.json"
    if read_json(eda, {}).get(run.task, {}).get("fingerprint") != pack.about["fingerprint"]:
        eda.unlink(missing_ok=True)
    if read_json(made, {"identity": {"films": None}})["identity"]["films"] != pack.about["fingerprint"]:
        (run.folder / "training.json").unlink(missing_ok=True)


def unshown(preset: str, experiments: list[Experiment]) -> list[str]:
    """Marks of completion, from the project's root, of results that are not there, or that no executed notebook shows.

    These were made without the workflow, perhaps after it; the report's pages are made of the notebooks that it executed. A
    training that is done is only marked again, from its last checkpoint.
    """
    build = build_folder(preset)
    # By notebook: the mark, and what is written with it and is no output of the Snakefile, for Snakemake touches these later.
    made = {
        "1_eda": (build / "eda.json", ROOT / "figures" / preset / "eda_area.svg"),
        "4_figures": (build / "results.json", build / "tables" / "scores.csv"),
    }
    for run in experiments:
        made[f"2_train-{run.name}-seed{run.seed}"] = run.folder / "training.json", run.folder / "best.pt"
        made[f"3_evaluate-{run.name}-seed{run.seed}"] = run.folder / "evaluation.json", run.folder / "extremes.npz"
    notebooks = ROOT / "runs" / preset / "notebooks"
    return [
        str(mark.relative_to(ROOT))
        for name, (mark, beside) in made.items()
        if not mark.is_file() or not _newer(notebooks / f"{name}.ipynb", beside)
    ]


def _newer(path: Path, than: Path) -> bool:
    return path.is_file() and than.is_file() and path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _failure(preset: str, since: float, log: Path) -> str:
    """The error of the notebook that failed, or else where to look for it."""
    for path in sorted((ROOT / "runs" / preset / "notebooks").glob("*.ipynb"), key=os.path.getmtime, reverse=True):
        if path.stat().st_mtime >= since and path.stat().st_size:
            cells = read_json(path, {"cells": []})["cells"]  # a notebook that was killed while it was written has none
            errors = [out for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "error"]
            if errors:
                return f"{' '.join(errors[0]['evalue'].split())} (executed notebook: {shown(path)})"
    told = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("labkit: ")]
    if told:
        return told[-1].removeprefix("labkit: ")
    return f"a step of the workflow failed; {shown(log)} and runs/{preset}/notebooks/*.err have the messages"
