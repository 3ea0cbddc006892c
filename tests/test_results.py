"""Numbers from the runs of a preset: comparisons, spread over seeds, what is said of one run, and the tables."""

import copy
import shutil

import made_up
import nbformat
import numpy as np
import pandas as pd
import pytest

from labkit import conventions, dataset, files, metrics, results, run_results, store, tables
from labkit.files import ROOT
from labkit.presets import load_all


def test_comparisons_pair_the_same_films():
    def rows(ious, names):
        inside = np.round(np.array(ious) * 100)
        columns = {"intersection": inside, "union": 100, "truth": 100, "pixels": 200, "absolute_error": 100 - inside}
        columns |= {
            "predicted": inside,
            "squared_error": 100 - inside,
            "soft_intersection": inside,
            "probability": inside,
        }
        scores = metrics.film_scores(pd.DataFrame(columns)).assign(asd=200 - inside, excess=1 - inside / 100)
        return scores.assign(asd_where_located=run_results.asd_where_located).set_index(pd.Index(names))

    names = [f"film {number}" for number in range(12)]
    bce = np.linspace(0.5, 0.72, 12)
    rows_of = {"infection-bce": rows(bce, names), "infection-bce_iou": rows(bce[::-1] + 0.1, names[::-1])}
    rows_of |= {"lung-bce": rows(bce, names), "lung-bce_iou": rows(bce + np.tile([0.05, -0.05], 6), names)}
    found = results.comparisons(rows_of)
    infection, lung = found["infection"]["iou"], found["lung"]["iou"]
    assert infection["mean"] == pytest.approx(0.1) and infection["verdict"] == "higher"
    assert infection["low"] == pytest.approx(infection["high"])  # film by film the difference is always the same
    assert lung["verdict"] == "none" and lung["low"] < 0 < lung["high"]
    for score in ("mae", "hard_mae", "brier", "excess", "asd"):
        assert found["infection"][score]["verdict"] == "lower", score
    assert infection["p_adjusted"] >= infection["p"]


def test_tables():
    found = made_up.results()
    table = tables.beside_reported(found)
    assert table["task"].tolist() == ["lung", "lung", "infection", "infection"]
    assert table["reported_iou"].tolist()[:2] == [0.957, 0.9567] and pd.isna(table["reported_iou"][2])
    assert tables.beside_reported(found, "infection")["loss"].tolist() == ["bce", "bce_iou"]
    assert {"best_epoch", "train_loss", "val_loss", "val_mae", "val_iou", "test_mae", "test_iou", "reduction"} <= set(
        table
    )


def test_settings_that_differ():
    assert tables.settings(load_all("paper")) == []
    rows = {row["label"]: row for row in tables.settings(load_all("laptop"))}
    assert rows["epochs"] == {"label": "epochs", "reference": "10", "lung": "60", "infection": "40"}
    assert "phantom films for training, each task" not in rows
    assert {row["label"] for row in tables.settings(load_all("smoke"))} >= {"phantom films for training, each task"}
    runs = [run.model_copy(update={"attention": run.task == "lung"}) for run in load_all("paper")]
    told = {"label": "attention gates on the skips", "reference": "no", "lung": "yes", "infection": "no"}
    assert tables.settings(runs) == [told]


def test_eda_is_made_where_it_is_missing_or_about_other_films(smoke):
    experiments = [smoke("lung-bce"), smoke("infection-bce")]
    summaries = {run.folder: {"identity": {"films": store.load(run).about["fingerprint"]}} for run in experiments}
    path = files.build_folder("smoke") / "eda.json"
    found = results._eda(experiments, summaries)
    assert found == files.read_json(path) and found["lung"]["films"]["All"]["All"] == 18
    before = path.stat().st_mtime_ns
    assert results._eda(experiments, summaries) == found and path.stat().st_mtime_ns == before
    for other in ({"fingerprint": "of other films"}, found["lung"] | {"size": 9}, found["lung"] | {"code": "older"}):
        files.write_json(path, found | {"lung": other})
        assert results._eda(experiments, summaries) == found


def test_environments_that_differ_are_all_told():
    merged = results._distinct(
        [{"commit": "a", "packages": {"torch": "2"}}, {"commit": "b", "packages": {"torch": "2"}}]
    )
    assert merged == {"commit": "a, b", "packages": {"torch": "2"}}
    older, newer = {"packages": {"torch": "2"}}, {"processes": 1, "packages": {"torch": "2", "scipy": "1"}}
    assert results._distinct([older, newer]) == {"processes": "1", "packages": {"torch": "2", "scipy": "1"}}


def cell_with(value, key):
    """What the cell of 4_figures that shows an entry of the results shows, if the entry has this value."""
    notebook = nbformat.read(ROOT / "notebooks" / "4_figures.ipynb", as_version=4)
    (source,) = [cell.source for cell in notebook.cells if f'found["{key}"]' in cell.source]
    *lines, last = source.splitlines()
    names = {"pd": pd, "found": {key: value}}
    exec("\n".join(lines), names)
    return eval(last, names)


def film_scores(iou, lost=0.0):
    """Of three films; `lost`: how far below 1 the Brier score and the excess are."""
    scores = {"iou": [iou] * 3, "mae": 0.1, "hard_mae": 0.1, "brier": 1 - lost, "excess": 1 - lost, "asd": 2.0}
    return pd.DataFrame(scores).assign(asd_where_located=run_results.asd_where_located)


def test_spread_over_seeds(worded):
    scores = {(name, seed): film_scores(0.9) for name in ("lung-bce", "lung-bce_iou") for seed in (0, 4)}
    for seed, bce, bce_iou in ((0, 0.5, 0.7), (4, 0.6, 0.64)):
        scores["infection-bce", seed] = film_scores(bce)
        scores["infection-bce_iou", seed] = film_scores(bce_iou, lost=0.1)
    scores["lung-bce", 4] = scores["lung-bce_iou", 4] = film_scores(metrics.LOCATED / 2)  # no outline to speak of
    found = results.spread(scores)
    assert found["seeds"] == [0, 4]
    assert found["runs"]["infection-bce"]["iou"] == pytest.approx(
        {"mean": 0.55, "deviation": 0.1 / 2**0.5, "low": 0.5, "high": 0.6}
    )
    lung, infection = found["gains"]["lung"], found["gains"]["infection"]
    assert infection["iou"]["mean"] == pytest.approx((0.2 + 0.04) / 2) and lung["iou"]["deviation"] == 0
    assert infection["iou"]["one_sign"] and infection["brier"]["one_sign"] and not lung["iou"]["one_sign"]
    assert infection["asd"]["mean"] == 0 and lung["asd"] == {}
    assert results.spread({key: one for key, one in scores.items() if key[1] == 0}) is None
    table = cell_with(found, "spread")
    assert table.loc[("infection-bce", "iou"), "mean"] == pytest.approx(0.55)
    assert table.loc[("infection", "iou"), "high"] == pytest.approx(0.2) and pd.isna(table.loc[("lung", "asd"), "mean"])
    assert cell_with(None, "spread") == "the four runs share one seed: not known"
    text = worded(("pdf", "html"), spread=found)
    assert "Each of the four runs was trained with 2 seeds (0, 4)" in text and "0.550 ± 0.071 (BCE)" in text
    assert "2 seeds a run" in text and "of one seed each" not in text and "means over seeds" not in text
    assert "With the same seed, BCE+IoU minus BCE is 0.000 ± 0.000 (from 0.000 to 0.000 ) on lungs and +0.120" in text
    assert (
        "Which loss has the higher IoU on lungs, MAE on lungs, MAE on infections, MAE of the mask on lungs, MAE of the mask on "
        "infections, Brier score on lungs, ASD on lungs, ASD on infections or confidence on lungs depends on the seed, or is "
        "not defined with each, so the conclusion leaves that out."
    ) in text
    assert "What speaks for BCE+IoU is the overlap on infections. What speaks against it is the higher Brier" in text
    assert "not with every seed" not in text and "are found on neither task with every seed" in text
    turned = copy.deepcopy(found)
    for score in ("iou", "brier", "excess"):
        turned["gains"]["infection"][score]["one_sign"] = False
    text = worded(spread=turned, verdicts=made_up.reached(spread=turned))
    assert "it is the better choice here by its overlap, though not with every seed" in text
    assert "By overlap the recommendation is borne out for neither." in text
    assert (
        "neither overlap nor MAE nor outlines nor calibration speak for BCE+IoU." in text and "against it" not in text
    )
    assert "of one seed each" in worded() and "Spread Between Trainings" not in worded()


def test_thirds_by_size():
    truth = np.array([50, 10, 0, 30, 40, 20, 60])
    rows = pd.DataFrame({"truth": truth, "pixels": 100, "intersection": truth / 2, "union": np.maximum(truth, 1)})
    thirds = run_results.by_size(rows)
    assert [(third["smallest"], third["largest"], third["count"]) for third in thirds] == [
        (0.1, 0.2, 2),
        (0.3, 0.4, 2),
        (0.5, 0.6, 2),
    ]
    assert all(third["mean"] == pytest.approx(0.5) for third in thirds)
    assert len(run_results.by_size(rows[1:2])) == 1


def test_own_scores_pass_the_check_of_conventions():
    assert conventions.consistency(made_up.runs()) == {"pairs": 8, "pooled": 0, "per_image": 0}
    runs = made_up.runs()
    runs["lung-bce"]["test"]["dice"] += 0.001
    runs["lung-bce"]["val"]["pooled_dice"] += 0.001
    assert conventions.consistency(runs) == {"pairs": 8, "pooled": 1, "per_image": 1}


def test_all_scores_in_one_table():
    table = tables.all_scores(made_up.results()).set_index(["run", "split"])
    assert len(table) == 12 and table.at[("lung-bce", "test"), "calibration_image_ece"] == 0.0123
    assert table.at[("infection-bce", "val"), "severity_kappa"] == 0.8 and "intervals_iou_low" not in table


def test_a_small_preset_from_films_to_results(smoke, tree, tmp_path):
    """collect() on real files: what is left out where films leak, and every number where the report looks for it."""
    films = shutil.copytree(tree, tmp_path / "films")
    samples = dataset.index(films, "lung").groupby("split")["image"].first()
    shutil.copy(samples["Train"], samples["Test"])
    experiments = [smoke(name, epochs=1) for name in made_up.RUN_NAMES]
    experiments = [
        run.model_copy(update={"name": name, "data": str(films)}) for run, name in zip(experiments, made_up.RUN_NAMES)
    ]
    found = results.collect(experiments)
    for run in found["runs"].values():
        whole = {
            name: value for name, value in run["test"].items() if name not in ("controls", "intervals", "whole_lung")
        }
        if run["task"] == "lung":
            assert run["leaked"] == 1 and run["test_without_leaked"]["films"] == whole["films"] - 1
        else:
            assert run["leaked"] == 0 and run["test_without_leaked"] == whole
        assert run["test"]["intervals"]["hd95"]["mean"] == pytest.approx(run["test"]["hd95"])
        assert run["test"]["intervals"]["brier"]["mean"] == pytest.approx(run["test"]["calibration"]["image"]["brier"])
    assert found["consistency"]["pooled"] == 0 and found["spread"] is None
    assert results.write(found).joinpath("tables", "scores.csv").is_file()


def test_a_better_threshold_is_chosen_on_validation_films():
    """Bins 0 to 14: all true pixels lie in bin 9, and false ones in bin 7 or 8; a threshold of 9/15 finds the mask alone."""
    bins = {}
    for split, false in (("val", 8), ("test", 7)):
        films = np.zeros((2, 15, 4))
        films[:, 0, 0], films[:, 9, 0], films[:, 9, 2], films[:, false, 0] = 100, 10, 10, 10
        bins[split] = {"image": films}
    found = run_results.other_threshold(bins, {"val": {"iou": 0.5}, "test": {"iou": 0.5}})
    assert found == {"best": pytest.approx(9 / 15), "gain": pytest.approx(0.5)}
    assert run_results.other_threshold(bins, {"val": {"iou": 1.0}, "test": {"iou": 0.7}}) == {"best": 0.5, "gain": 0.0}


def test_spread_is_of_the_seeds_that_all_four_runs_have():
    scores = {(name, seed): film_scores(0.5) for name in made_up.RUN_NAMES for seed in (0, 1)}
    scores |= {(name, 2): film_scores(0.5) for name in made_up.RUN_NAMES[:2]}
    assert results.spread(scores)["seeds"] == [0, 1]
    del scores["infection-bce", 1]
    assert results.spread(scores) is None


def test_outlines_are_compared_where_both_losses_locate_the_mask():
    scores = {name: film_scores(0.9) for name in made_up.RUN_NAMES}
    for name, ious, asd in (("bce", (0.5, 0.0, 0.6), 2.0), ("bce_iou", (0.5, 0.6, 0.05), 1.0)):
        films = scores[f"infection-{name}"].assign(iou=ious, asd=asd)
        scores[f"infection-{name}"] = films.assign(asd_where_located=run_results.asd_where_located)
    found = results.comparisons(scores)["infection"]
    assert (found["asd"]["count"], found["asd"]["first"], found["asd"]["second"]) == (1, 2.0, 1.0)
    assert found["iou"]["count"] == 3 and found["iou"]["first"] == pytest.approx(1.1 / 3)
