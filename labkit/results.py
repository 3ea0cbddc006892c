"""All runs of a preset -> results.json and the tables: every number and every verdict that the report states."""

from pathlib import Path

import numpy as np
import pandas as pd

from labkit import (
    ablation,
    audit,
    boundary,
    conventions,
    dataset,
    eda,
    metrics,
    run_results,
    statistics,
    store,
    tables,
    verdicts,
)
from labkit.code import HASHES
from labkit.evaluation import evaluate
from labkit.experiment import RUNS, Experiment
from labkit.files import build_folder, read_json, write_json, written
from labkit.presets import load_preset, reference_runs

# Scores by which the two losses are held against each other, and their columns of run_results.film_scores. Outlines by ASD: the
# HD95 of good masks is one pixel or two.
COMPARED = {name: name for name in ("iou", "mae", "hard_mae", "brier", "excess")} | {"asd": "asd_where_located"}


def collect(experiments: list[Experiment]) -> dict:
    """Everything the report states of a preset's `experiments`, which are trained and scored first where they are not.

    Raises LabkitError if one of the reference's four runs is missing, if they have no seed in common, or if an experiment was
    scored on other films than what it is held against.
    """
    preset = experiments[0].preset
    chosen = reference_runs(experiments)
    # In their order: what a run starts from stands above it.
    summaries = {run.folder: evaluate(run) for run in experiments}
    films = _eda(list(chosen.values()), summaries)
    scores = {
        (run.name, run.seed): run_results.film_scores(run.folder) for run in experiments if run.name in RUNS.values()
    }
    first_scores = {name: scores[name, run.seed] for name, run in chosen.items()}
    runs = {}
    for name, run in chosen.items():
        leaked = films[run.task]["audit"]["leaked"]
        runs[name] = run_results.describe(run, summaries[run.folder], first_scores[name], leaked)
    compared, over_seeds = comparisons(first_scores), spread(scores)
    roots = [store.root_of(experiment) for experiment in chosen.values()]
    return {
        "preset": preset,
        "about": load_preset(preset).about,
        "collection": load_preset(preset).collection,
        "phantom": any(dataset.is_phantom(root) for root in roots),
        "data": ", ".join(sorted({root.name for root in roots})),
        "reduction": metrics.REDUCTION,
        "tolerance": boundary.TOLERANCE,
        "size": ", ".join(dict.fromkeys(str(run.size) for run in chosen.values())),
        "films": films,
        "settings": tables.settings(list(chosen.values())),
        "experiments": [{"name": run.name, "seed": run.seed} for run in experiments],
        "runs": runs,
        "comparisons": compared,
        "spread": over_seeds,
        "consistency": conventions.consistency(runs),
        "conventions": _conventions(experiments, chosen),
        "ablation": ablation.compare(experiments),
        "verdicts": verdicts.reach(runs, films, compared, over_seeds),
        "thresholds": verdicts.THRESHOLDS,
        "environment": _distinct(
            [one for run in chosen.values() for one in read_json(run.folder / "experiment.json")["environments"]]
        ),
        "training_minutes": sum(run["training_seconds"] for run in runs.values()) / 60,
    }


def comparisons(scores: dict[str, pd.DataFrame]) -> dict[str, dict]:
    """BCE+IoU against BCE on the same test films: for each task and score of COMPARED a statistics.paired_difference.

    `scores`: the run_results.film_scores of each run. Each comparison also has `p_adjusted` (Holm, over all the tests made)
    and `verdict`.
    """
    found = {}
    for task in ("lung", "infection"):
        bce, bce_iou = (scores[RUNS[task, loss]] for loss in ("bce", "bce_iou"))
        bce_iou = bce_iou.reindex(bce.index)
        for score, column in COMPARED.items():
            found[task, score] = statistics.paired_difference(bce[column].to_numpy(), bce_iou[column].to_numpy())
    adjusted = statistics.holm([difference["p"] for difference in found.values()])
    for difference, p in zip(found.values(), adjusted):
        difference["p_adjusted"] = p
        difference["verdict"] = statistics.verdict(difference)
    return {task: {score: found[task, score] for score in COMPARED} for task in ("lung", "infection")}


def spread(scores: dict[tuple[str, int], pd.DataFrame]) -> dict | None:
    """How test scores differ over trainings that differ in their seed alone; None where the four runs share but one seed.

    `scores`: the run_results.film_scores of each of the reference's runs, by its name and seed.

    `runs`: of each run IoU and MAE; `gains`: of each task and score of COMPARED, how much BCE+IoU is above BCE with the same
    seed, by the mean over the films where both are defined. Each as `mean`, `deviation` (standard, n - 1), `low`, `high`
    (smallest and largest) over the seeds; a gain also has `one_sign`: whether it is above 0 with every seed, or below 0 with
    every one. A gain that is not defined with some seed is empty.
    """
    names = RUNS.values()
    seeds = [
        seed for seed in dict.fromkeys(seed for _, seed in scores) if all((name, seed) in scores for name in names)
    ]
    if len(seeds) < 2:
        return None

    def over_seeds(values: list[float]) -> dict:
        mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
        return {"mean": mean, "deviation": deviation, "low": min(values), "high": max(values)}

    found: dict = {"seeds": seeds, "runs": {}, "gains": {"lung": {}, "infection": {}}}
    for name in names:
        means = {score: [float(scores[name, seed][score].mean()) for seed in seeds] for score in ("iou", "mae")}
        found["runs"][name] = {score: over_seeds(values) for score, values in means.items()}
    for task, gains in found["gains"].items():
        bce, bce_iou = ([scores[RUNS[task, loss], seed] for seed in seeds] for loss in ("bce", "bce_iou"))
        for score, column in COMPARED.items():
            means_of = [metrics.mean(second[column] - first[column]) for first, second in zip(bce, bce_iou)]
            gains[score] = {} if np.isnan(means_of).any() else over_seeds(means_of)
            if gains[score]:
                gains[score]["one_sign"] = min(means_of) > 0 or max(means_of) < 0
    return found


def _conventions(experiments: list[Experiment], chosen: dict[str, Experiment]) -> dict | None:
    """The infection runs with BCE+IoU under each convention, on validation films as in the reference; None without controls.

    That of the `chosen` four, and among `experiments` the one of the same seed that was trained with control films.
    """
    run = chosen[RUNS["infection", "bce_iou"]]
    trained = {"without controls": run}
    for other in experiments:
        if (other.name, other.seed) == (f"{run.name}-controls", run.seed) and other.controls:
            trained["with controls"] = other
    rows = {name: metrics.rows_of(run.folder, "val", controls=True) for name, run in trained.items()}
    if not all(films["control"].any() for films in rows.values()):
        return None
    published = read_json(tables.PUBLISHED)
    anchor = published["tahir2021"]
    return conventions.compare(rows, published["experiments"][RUNS["infection", "bce_iou"]]) | {
        "anchors": {
            task: anchor[task]
            | {"pooled": not conventions.mixes_conventions(anchor[task]["iou"], anchor[task]["dice"])}
            for task in ("lung", "infection")
        },
        "anchor_without_controls": conventions.without_controls(anchor["infection"]["iou"]),
    }


def _eda(experiments: list[Experiment], summaries: dict[Path, dict]) -> dict:
    """What 1_eda wrote about the films of these runs; looked at again where it is missing, old, or about other films."""
    path = build_folder(experiments[0].preset) / "eda.json"
    found = read_json(path, {})
    for experiment in experiments:
        about, films = found.get(experiment.task, {}), summaries[experiment.folder]["identity"]["films"]
        if (about.get("fingerprint"), about.get("size"), about.get("code")) != (films, experiment.size, HASHES["eda"]):
            pack = store.load(experiment)
            found[experiment.task] = eda.summarise(eda.describe(pack), pack, audit.look(pack))
            write_json(path, found)
    return found


def _distinct(environments: list[dict]) -> dict:
    """Each entry's values over the runs as one text, "a, b" where they differ; entries of entries likewise.

    The entries are those of the last environment: an older one may lack some, which then has no part in them.
    """
    found: dict = {}
    for key, value in environments[-1].items():
        known = [environment[key] for environment in environments if key in environment]
        found[key] = _distinct(known) if isinstance(value, dict) else ", ".join(dict.fromkeys(map(str, known)))
    return found


def write(results: dict) -> Path:
    """Write results.json, and tables/table{1,2,3}.csv, scores.csv, conventions.csv and ablation.csv; returns their folder."""
    folder = build_folder(results["preset"])
    for number, task in enumerate(("lung", "infection", None), start=1):
        with written(folder / "tables" / f"table{number}.csv") as temporary:
            tables.beside_reported(results, task).to_csv(temporary, index=False)
    with written(folder / "tables" / "scores.csv") as temporary:
        tables.all_scores(results).to_csv(temporary, index=False)
    for name, rows_of in (("conventions", lambda found: pd.DataFrame(found["rows"])), ("ablation", ablation.table)):
        (folder / "tables" / f"{name}.csv").unlink(missing_ok=True)
        if results[name]:
            with written(folder / "tables" / f"{name}.csv") as temporary:
                rows_of(results[name]).to_csv(temporary, index=False)
    write_json(folder / "results.json", results)
    return folder
