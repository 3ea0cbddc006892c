"""All runs of a preset -> results.json and the tables: every number and every verdict that the report states."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from labkit import (
    ablation,
    audit,
    boundary,
    calibration,
    conventions,
    dataset,
    eda,
    evaluation,
    metrics,
    severity,
    statistics,
    store,
)
from labkit.code import HASHES
from labkit.evaluation import evaluate
from labkit.experiment import RUNS, UNNAMED, Experiment
from labkit.files import ROOT, build_folder, read_json, write_json, written
from labkit.presets import load_preset, reference_runs

# Scores by which the two losses are held against each other. Outlines by ASD: the HD95 of good masks is one pixel or two.
COMPARED = ("iou", "mae", "hard_mae", "brier", "excess", "asd")
PUBLISHED = ROOT / "report" / "published.json"
# When is a difference one? Between two losses, when its interval and its p over the test films say so (statistics.verdict).
# Otherwise the report's wording goes by these, and states them.
THRESHOLDS = {
    "near_iou": 0.005,  # two losses are comparable if their difference in IoU is surely within this
    "high_iou": 0.95,  # what the reference has on lungs with both losses
    "located_iou": metrics.LOCATED,
    "mostly_located": 0.9,  # of the films, for the place of infections to be found
    "far_iou": 0.1,  # a task is much harder if its IoU is surely lower by more than this
    "small_share": 0.25,  # a small part of the lung
    "much_smaller": 0.5,  # of the lungs' part of the film
    "rising_iou": 0.005,  # from one fifth of the epochs to the next, in the mean
    "excess": 0.01,  # of a mean probability: a smaller change of confidence counts neither for nor against a loss
    "alike": 0.1,  # masks are more alike if their overlap with the mean mask is larger by more than this
    "mostly_empty": 0.5,  # of the predictions
    "same_picture": audit.NEAR,
    "enough_films": statistics.ENOUGH,
    "alpha": statistics.ALPHA,
}


def collect(experiments: list[Experiment]) -> dict:
    """Everything the report states of a preset's `experiments`, which are trained and scored first where they are not.

    Raises LabkitError if one of the reference's four runs is missing.
    """
    preset = experiments[0].preset
    chosen = reference_runs(experiments)
    # In their order: what a run starts from stands above it.
    summaries = {run.folder: evaluate(run) for run in experiments}
    films = _eda(list(chosen.values()), summaries)
    scores = {name: film_scores(experiment) for name, experiment in chosen.items()}
    runs = {}
    for name, experiment in chosen.items():
        leaked = films[experiment.task]["audit"]["leaked"]
        runs[name] = _run(experiment, summaries[experiment.folder], scores[name], leaked)
    compared = comparisons(scores)
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
        "settings": settings(list(chosen.values())),
        "experiments": [{"name": run.name, "seed": run.seed} for run in experiments],
        "runs": runs,
        "comparisons": compared,
        "spread": spread(experiments, summaries),
        "consistency": consistency(runs),
        "conventions": _conventions(experiments, chosen),
        "ablation": ablation.compare(experiments),
        "verdicts": verdicts(runs, films, compared),
        "thresholds": THRESHOLDS,
        "environment": _distinct(
            [one for run in chosen.values() for one in read_json(run.folder / "experiment.json")["environments"]]
        ),
        "training_minutes": sum(run["training_seconds"] for run in runs.values()) / 60,
    }


def film_scores(experiment: Experiment) -> pd.DataFrame:
    """The scores of a run's test films, control films left out, by class and name.

    Those of metrics.film_scores, boundary.distances, and calibration.excess over all pixels; NaN where not defined.
    """
    rows, bins = metrics.rows_of(experiment.folder, "test"), calibration_bins(experiment, "test")
    others = rows[list(boundary.COLUMNS)].assign(excess=calibration.excess(bins["image"])).where(rows["truth"] > 0)
    return metrics.film_scores(rows).join(others).set_index([rows["class"], rows["name"]])


def other_threshold(experiment: Experiment, scores: dict) -> dict[str, float]:
    """Of 0.5 and the fifteenths, the threshold that is `best` on validation films, and the test IoU's gain by it over 0.5."""
    val, test = (
        calibration.iou_by_threshold(calibration_bins(experiment, split)["image"]) for split in ("val", "test")
    )
    place = int(val["iou"].argmax())
    if val["iou"][place] <= scores["val"]["iou"] + 1e-9:  # two sums of the same films may differ in their last digit
        return {"best": 0.5, "gain": 0.0}
    return {"best": float(val["threshold"][place]), "gain": float(test["iou"][place]) - scores["test"]["iou"]}


def by_size(rows: pd.DataFrame) -> list[dict]:
    """IoU of the films with the smallest, middle and largest thirds of true masks.

    Each a statistics.mean_interval, with `smallest` and `largest` mask, as a share of the film.
    """
    rows = rows[rows["truth"] > 0].sort_values("truth", kind="stable")
    share, iou = (rows["truth"] / rows["pixels"]).to_numpy(), metrics.film_iou(rows).to_numpy()
    thirds = [third for third in np.array_split(np.arange(len(rows)), 3) if len(third)]
    return [
        {"smallest": float(share[third[0]]), "largest": float(share[third[-1]])} | statistics.mean_interval(iou[third])
        for third in thirds
    ]


def size_rank(rows: pd.DataFrame) -> dict[str, float | None]:
    """Whether films with larger true masks have the higher IoU: Spearman's `rho` and its `p`; None where it is not defined."""
    rows = rows[rows["truth"] > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        rho, p = stats.spearmanr(rows["truth"], metrics.film_iou(rows)) if len(rows) > 2 else (np.nan, np.nan)
    return {"rho": None, "p": None} if np.isnan(rho) else {"rho": float(rho), "p": float(p)}


def spread(experiments: list[Experiment], summaries: dict[Path, dict]) -> dict | None:
    """Test IoU and MAE over trainings that differ in their seed alone; None where there is one seed.

    `summaries`: what evaluate() gave for each run, by its folder.

    For each of the reference's runs, and for the gain of BCE+IoU over BCE with the same seed, by task: `mean`, `deviation`
    (standard, n - 1), `low`, `high` (smallest and largest) over the seeds. For a gain also `one_sign`: whether it is above 0
    with every seed, or below 0 with every one.
    """
    ours = [run for run in experiments if run.name in RUNS.values()]
    seeds_of = [{run.seed for run in ours if run.name == name} for name in RUNS.values()]
    seeds = [seed for seed in dict.fromkeys(run.seed for run in ours) if all(seed in each for each in seeds_of)]
    if len(seeds) < 2:
        return None
    scored = {(run.name, run.seed): summaries[run.folder]["test"] for run in ours if run.seed in seeds}

    def over_seeds(values: list[float]) -> dict:
        mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
        return {"mean": mean, "deviation": deviation, "low": min(values), "high": max(values)}

    def of(name: str, score: str) -> list[float]:
        return [scored[name, seed][score] for seed in seeds]

    found: dict = {"seeds": seeds, "runs": {}, "gains": {}}
    for name in RUNS.values():
        found["runs"][name] = {score: over_seeds(of(name, score)) for score in ("iou", "mae")}
    for task in ("lung", "infection"):
        pairs = {score: zip(of(RUNS[task, "bce"], score), of(RUNS[task, "bce_iou"], score)) for score in ("iou", "mae")}
        gains = {score: over_seeds([b - a for a, b in pair]) for score, pair in pairs.items()}
        found["gains"][task] = {score: it | {"one_sign": it["low"] * it["high"] > 0} for score, it in gains.items()}
    return found


def consistency(runs: dict[str, dict]) -> dict[str, int]:
    """conventions.mixes_conventions on these results: of so many `pairs` of IoU and Dice, how many it flags.

    `pooled`: of the pooled pairs, none if all is well. `per_image`: of the means over films, as it should where films differ.
    """
    scored = [run[split] for run in runs.values() for split in ("val", "test")]
    flagged = {
        "pooled": [conventions.mixes_conventions(split["pooled_iou"], split["pooled_dice"]) for split in scored],
        "per_image": [conventions.mixes_conventions(split["iou"], split["dice"]) for split in scored],
    }
    return {"pairs": len(scored)} | {name: sum(found) for name, found in flagged.items()}


def comparisons(scores: dict[str, pd.DataFrame]) -> dict[str, dict]:
    """BCE+IoU against BCE on the same test films: for each task and score of COMPARED a statistics.paired_difference.

    `scores`: those of each run's test films, control films left out, by class and name. Each comparison also has `p_adjusted`
    (Holm, over all the tests made) and `verdict`.
    """
    found = {}
    for task in ("lung", "infection"):
        bce, bce_iou = (scores[RUNS[task, loss]] for loss in ("bce", "bce_iou"))
        for score in COMPARED:
            found[task, score] = statistics.paired_difference(
                bce[score].to_numpy(), bce_iou[score].reindex(bce.index).to_numpy()
            )
    adjusted = statistics.holm([difference["p"] for difference in found.values()])
    for difference, p in zip(found.values(), adjusted):
        difference["p_adjusted"] = p
        difference["verdict"] = statistics.verdict(difference)
    return {task: {score: found[task, score] for score in COMPARED} for task in ("lung", "infection")}


def verdicts(runs: dict[str, dict], films: dict[str, dict], compared: dict[str, dict]) -> dict[str, bool | str]:
    """For each claim of the reference, whether these results bear it out.

    BCE+IoU against BCE: "higher", "lower" or "none", by the difference over the test films (statistics.verdict), and whether
    their IoU is `comparable`: "yes" if the whole interval is that near to 0, "no" if none of it is, "open" otherwise, "few"
    for too few films. `..._confidence`: "worse" where BCE+IoU is further from what its probabilities promise, by their excess,
    "better" where it is nearer, "none" without a difference that matters. `recommended`: the tasks where BCE+IoU has the
    higher overlap, by more than what is comparable.

    Other claims about scores hold only if they do on the validation and on the test films; that infection is much harder only
    if the tasks' intervals are that far apart; outlines, sizes, and what beats calling the whole lung infected go by test
    films alone. `lung_high`, `beats_whole_lung`: "yes", "no" or "open", see _above. `plateau` is "rising", "flat", "falling",
    "unsteady" where the epochs differ too much to tell, or "short" for too few.
    """
    lung, infection = ({loss: runs[RUNS[task, loss]] for loss in ("bce", "bce_iou")} for task in ("lung", "infection"))
    tasks, limits = {"lung": lung, "infection": infection}, THRESHOLDS
    pairs = list(zip(lung.values(), infection.values()))  # with the same loss
    rank, largest = infection["bce_iou"]["size_rank"], infection["bce_iou"]["by_size"][-1]

    def both(claim) -> bool:
        return all(claim(split) for split in ("val", "test"))

    def surely_harder(easy: dict, hard: dict, split: str) -> bool:
        low, high = easy[split]["intervals"]["iou"]["low"], hard[split]["intervals"]["iou"]["high"]
        return low is not None and high is not None and low - high > limits["far_iou"]

    def surely_further(easy: dict, hard: dict) -> bool:
        low, high = hard["asd_where_located"]["low"], easy["asd_where_located"]["high"]
        return low is not None and high is not None and low > high

    def gaps(split: str) -> list[float]:
        return [abs(a[split]["iou"] - b[split]["iou"]) for a, b in pairs]

    def between_losses(split: str) -> list[float]:
        return [abs(task["bce_iou"][split]["iou"] - task["bce"][split]["iou"]) for task in (lung, infection)]

    return {
        # Abstract, results and conclusion: lungs with "IoU > 0.95" with both losses.
        "lung_high": _above(
            [run[split]["intervals"]["iou"] for run in lung.values() for split in ("val", "test")], limits["high_iou"]
        ),
        # Discussion: "BCE and BCE+IoU yield comparable IoU, but the combined loss produces lower MAE"; conclusion: BCE+IoU
        # "is recommended for both tasks".
        **{f"{task}_{score}": compared[task][score]["verdict"] for task in compared for score in compared[task]},
        # No difference found is no proof of likeness, and with many films any difference is found.
        **{f"{task}_comparable": _comparable(compared[task]["iou"]) for task in compared},
        **{
            f"{task}_confidence": _confidence(compared[task]["excess"], **both_losses)
            for task, both_losses in tasks.items()
        },
        "recommended": " and ".join(f"{task}s" for task in tasks if _better(compared[task]["iou"])),
        # Discussion: the IoU term "is essential to avoid trivial all-zero predictions": without it, but not with it.
        "bce_all_zero": both(
            lambda split: (
                infection["bce"][split]["empty_predictions"]
                > limits["mostly_empty"]
                >= infection["bce_iou"][split]["empty_predictions"]
            )
        ),
        # Results: infection "proves substantially harder".
        "infection_harder": both(lambda split: all(surely_harder(a, b, split) for a, b in pairs)),
        # Results: on infections both "capture the general infection location but struggle with precise boundary delineation".
        # Where the whole lung would do as well, an overlap shows no place.
        "infection_located": both(
            lambda split: all(
                run[split]["located"] >= limits["mostly_located"]
                and run[split]["located"] > run[split]["whole_lung"]["located"]
                for run in infection.values()
            )
        ),
        "beats_whole_lung": _above([run["over_whole_lung"] for run in infection.values()], 0),
        "outlines_harder": all(surely_further(a, b) for a, b in pairs),
        "tasks_matter_more": both(lambda split: min(gaps(split)) > max(between_losses(split))),
        # Results: "continuous improvement without plateau".
        "plateau": _plateau(infection["bce_iou"]["late_rise"]),
        # Data: lung masks "relatively uniform", infections "irregular and variable".
        "lungs_more_alike": films["lung"]["likeness_median"] > films["infection"]["likeness_median"] + limits["alike"],
        # Data: infections "occupy a much smaller fraction of the image" than lungs; discussion: "a small fraction of the
        # lung area".
        "small_in_image": films["infection"]["image_share_mean"]
        < limits["much_smaller"] * films["lung"]["image_share_mean"],
        "small_in_lung": films["infection"]["lung_share_median"] < limits["small_share"],
        # Discussion: infections are the harder task because they are small.
        "smaller_is_harder": rank["rho"] is not None and rank["rho"] > 0 and rank["p"] < statistics.ALPHA,
        "largest_still_harder": largest["high"] is not None and largest["high"] < lung["bce_iou"]["test"]["iou"],
    }


def _better(iou: dict) -> bool:
    return iou["verdict"] == "higher" and _comparable(iou) != "yes"


def _confidence(excess: dict, bce: dict, bce_iou: dict) -> str:
    """Whether BCE+IoU's probabilities are "worse" or "better" than BCE's by their excess, which is best at 0; or "none"."""
    before, after = (run["test"]["calibration"]["image"]["excess"] for run in (bce, bce_iou))
    if excess["verdict"] == "none" or before is None or after is None:
        return "none"
    towards = "higher" if before < after else "lower"  # films and pooled pixels must agree
    if excess["verdict"] != towards:
        return "none"
    further = abs(after) - abs(before)
    return "none" if abs(further) <= THRESHOLDS["excess"] else "worse" if further > 0 else "better"


def _above(intervals: list[dict], limit: float) -> str:
    """Whether all values are above a limit: "yes" if all intervals are, "no" if one of them is below, "open" otherwise."""
    known = [interval for interval in intervals if interval["low"] is not None]
    if any(interval["high"] < limit for interval in known):
        return "no"
    return "yes" if len(known) == len(intervals) and all(interval["low"] > limit for interval in known) else "open"


def _comparable(difference: dict) -> str:
    low, high, near = difference["low"], difference["high"], THRESHOLDS["near_iou"]
    if low is None or difference["count"] < statistics.ENOUGH:
        return "few"
    if -near <= low and high <= near:
        return "yes"
    return "no" if low > near or high < -near else "open"


def late_rise(iou: np.ndarray) -> dict[str, float] | None:
    """By how much the mean IoU of the last fifth of the epochs is above that of the fifth before: `mean`, and its `error`.

    That is the standard error of a difference of two means, by the spread of the epochs within each fifth. None for fewer
    than ten epochs: a fifth of one has no spread.
    """
    fifth = len(iou) // 5
    if fifth < 2:
        return None
    before, last = iou[-2 * fifth : -fifth], iou[-fifth:]
    error = np.sqrt((before.var(ddof=1) + last.var(ddof=1)) / fifth)
    return {"mean": float(last.mean() - before.mean()), "error": float(error)}


def _plateau(rise: dict[str, float] | None) -> str:
    if rise is None:
        return "short"
    height, matters = rise["mean"], THRESHOLDS["rising_iou"]
    if 2 * rise["error"] > max(abs(height), matters):
        return "unsteady"
    if abs(height) <= matters:
        return "flat"
    return "rising" if height > 0 else "falling"


def settings(experiments: list[Experiment]) -> list[dict]:
    """Knobs whose value is not the reference's: label, the reference's value, ours for each task."""
    named = ("preset", "name", "seed", "task", "loss", "controls", "precision", *UNNAMED)
    rows = []
    for knob, field in Experiment.model_fields.items():
        phantom_only = knob == "films" and experiments[0].data != "phantom"
        if knob in named or phantom_only:
            continue
        ours: dict[str, list] = {}
        for experiment in experiments:
            ours.setdefault(experiment.task, []).append(getattr(experiment, knob))
        reference = [] if knob == "films" else [field.default]  # the reference has no phantom films
        if any(set(values) != set(reference) for values in ours.values()):
            texts: dict = {column: ", ".join(map(_told, dict.fromkeys(values))) for column, values in ours.items()}
            rows.append({"label": field.description, "reference": _told(reference[0]) if reference else None} | texts)
    return rows


def _told(value: bool | str | int | float) -> str:
    """A knob's value in the words of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def table(results: dict, task: str | None = None) -> pd.DataFrame:
    """Tables I and II (of one task) and III (task None): our scores at the best epoch, the reported ones, test scores."""
    published = read_json(PUBLISHED)["experiments"]
    rows = []
    for (run_task, loss), name in RUNS.items():
        if task in (None, run_task):
            run = results["runs"][name]
            row = {"task": run_task, "loss": loss, "best_epoch": run["best_epoch"], "train_loss": run["train_loss"]}
            row |= {"val_loss": run["val"]["loss"], "val_mae": run["val"]["mae"], "val_iou": run["val"]["iou"]}
            row |= {f"reported_{key}": value for key, value in published[name].items()}
            row |= {"test_mae": run["test"]["mae"], "test_iou": run["test"]["iou"]}
            rows.append(row)
    return pd.DataFrame(rows)


def all_scores(results: dict) -> pd.DataFrame:
    """Every score of every run, a row for each run and split: val, test, and test_without_leaked."""
    rows = []
    for name, run in results["runs"].items():
        for split in ("val", "test", "test_without_leaked"):
            flat = pd.json_normalize({key: value for key, value in run[split].items() if key != "intervals"}, sep="_")
            rows.append({"run": name, "split": split} | flat.iloc[0].to_dict())
    return pd.DataFrame(rows)


def write(results: dict) -> Path:
    """Write results.json, and tables/table{1,2,3}.csv, scores.csv, conventions.csv and ablation.csv; returns their folder."""
    folder = build_folder(results["preset"])
    for number, task in enumerate(("lung", "infection", None), start=1):
        with written(folder / "tables" / f"table{number}.csv") as temporary:
            table(results, task).to_csv(temporary, index=False)
    with written(folder / "tables" / "scores.csv") as temporary:
        all_scores(results).to_csv(temporary, index=False)
    for name, rows_of in (("conventions", lambda found: pd.DataFrame(found["rows"])), ("ablation", ablation.table)):
        (folder / "tables" / f"{name}.csv").unlink(missing_ok=True)
        if results[name]:
            with written(folder / "tables" / f"{name}.csv") as temporary:
                rows_of(results[name]).to_csv(temporary, index=False)
    write_json(folder / "results.json", results)
    return folder


def _run(experiment: Experiment, summary: dict, scores: pd.DataFrame, leaked: list[str]) -> dict:
    """The scores of one run at its best epoch.

    `summary` is what evaluate() gave for it, `scores` its film_scores, `leaked` the test films of its task that also stand in
    another split, as "class/name".
    """
    history = pd.read_csv(experiment.folder / "history.csv").set_index("epoch")
    best = summary["best_epoch"]
    val, test = (metrics.rows_of(experiment.folder, split) for split in ("val", "test"))
    kept = {key: summary[key] for key in ("best_epoch", "parameters", "training_seconds")}
    intervals = {name: statistics.mean_interval(scores[name].to_numpy()) for name in scores if name != "excess"}
    of_val = {"iou": statistics.mean_interval(metrics.film_iou(val).to_numpy())}  # of these only the headline is judged
    kept["val"], kept["test"] = summary["val"] | {"intervals": of_val}, summary["test"] | {"intervals": intervals}
    # Where the place is missed, ASD tells of that and not of outlines.
    kept["asd_where_located"] = statistics.mean_interval(scores["asd"][scores["iou"] >= metrics.LOCATED].to_numpy())
    if experiment.task == "infection":
        whole = {split: severity.whole_lung_iou(rows).to_numpy() for split, rows in (("val", val), ("test", test))}
        for split, ious in whole.items():
            located = float((ious[~np.isnan(ious)] >= metrics.LOCATED).mean())
            kept[split]["whole_lung"] = {"iou": float(np.nanmean(ious)), "located": located}
        kept["over_whole_lung"] = statistics.mean_interval(scores["iou"].to_numpy() - whole["test"])
    known, bins = (test["class"] + "/" + test["name"]).isin(leaked), calibration_bins(experiment, "test")
    others = evaluation.summarise(test[~known], {region: counts[~known] for region, counts in bins.items()})
    kept |= {"leaked": int(known.sum()), "test_without_leaked": others}
    kept |= {"by_size": by_size(test), "size_rank": size_rank(test), "threshold": other_threshold(experiment, summary)}
    return kept | {
        "name": experiment.name,
        "seed": experiment.seed,
        "task": experiment.task,
        "loss": experiment.loss,
        "epochs": len(history),
        "train_loss": float(history["train_loss"][best]),
        "late_rise": late_rise(history["iou"].to_numpy()),
        "val_loss_falls": int((history["val_loss"].diff() < 0).sum()),  # from one epoch to the next
    }


def calibration_bins(experiment: Experiment, split: str) -> dict[str, np.ndarray]:
    """What evaluate() kept for calibration of a split's films, in the order of its rows, control films left out, by region."""
    kept = np.load(experiment.folder / "calibration.npz")
    control = metrics.rows_of(experiment.folder, split, controls=True)["control"].to_numpy()
    return {name.split("_")[1]: kept[name][~control] for name in kept.files if name.startswith(f"{split}_")}


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
    published = read_json(PUBLISHED)
    anchor = published["tahir2021"]
    return conventions.compare(rows, published["experiments"][RUNS["infection", "bce_iou"]]) | {
        "anchors": {
            task: anchor[task]
            | {"pooled": not conventions.mixes_conventions(anchor[task]["iou"], anchor[task]["dice"])}
            for task in ("lung", "infection")
        },
        "anchor_without_controls": conventions.without_controls(anchor["infection"]["iou"]),
    }


def _distinct(environments: list[dict]) -> dict:
    """Each entry's values over the runs as one text, "a, b" where they differ; entries of entries likewise.

    The entries are those of the last environment: an older one may lack some, which then has no part in them.
    """
    found: dict = {}
    for key, value in environments[-1].items():
        known = [environment[key] for environment in environments if key in environment]
        found[key] = _distinct(known) if isinstance(value, dict) else ", ".join(dict.fromkeys(map(str, known)))
    return found


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
