"""The verdicts, the tables, and the report that is worded by them."""

import copy
import re
import shutil

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import typst

from labkit import (
    boundary,
    conventions,
    dataset,
    eda_figures,
    files,
    metrics,
    report,
    results,
    statistics,
    store,
    style,
)
from labkit.errors import LabkitError
from labkit.files import ROOT
from labkit.presets import load, load_all

COUNTS = metrics.count(torch.ones(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]]))
FILM_SCORES = [
    *metrics.film_scores(pd.DataFrame({name: value.numpy() for name, value in COUNTS.items()})),
    *boundary.COLUMNS,
]
RUN_NAMES = ("lung-bce", "lung-bce_iou", "infection-bce", "infection-bce_iou")


def scores(iou, mae, empty=0.0, located=0.98):
    return {
        "located": located,
        "iou": iou,
        "pooled_iou": iou + 0.02,
        "mae": mae,
        "hard_mae": mae,
        "loss": 0.1,
        "empty_predictions": empty,
        "films": 9,
        "left_out": 0,
        "dice": 2 * iou / (1 + iou),
        "pooled_dice": 2 * (iou + 0.02) / (1.02 + iou),
        "hd95": 7.6,
        "asd": 1.5,
        "surface_dice": 0.91,
        "calibration": {
            "image": {"ece": 0.0123, "brier": 0.0234, "excess": 0.051},
            "lung": {"ece": 0.1, "brier": 0.2, "excess": 0.05},
        },
        "severity": {
            "films": 9,
            "mae": 0.08,
            "bias": -0.021,
            "low": -0.2,
            "high": 0.158,
            "same_grade": 0.7,
            "kappa": 0.8,
        },
        "intervals": {name: {"mean": iou, "low": iou - 0.005, "high": iou + 0.005, "count": 9} for name in FILM_SCORES},
        "controls": {"films": 9, "with_false_positives": 0.25, "area": 0.03},
    }


def asd_where_located(iou):
    return {"mean": 2 - iou, "low": 1.99 - iou, "high": 2.01 - iou, "count": 9}  # the better, the less


def compared(**given):
    """BCE+IoU against BCE, each as the interval of the difference; the reference's findings where nothing is given."""
    intervals = {"lung_iou": (-0.003, 0.002), "lung_mae": (-0.006, -0.002)}
    intervals |= {"infection_iou": (0.3, 0.4), "infection_mae": (-0.02, -0.01)}
    intervals |= {"lung_brier": (-0.01, 0.01), "infection_brier": (0.01, 0.02)}
    intervals |= {"lung_hard_mae": (-0.01, 0.01), "infection_hard_mae": (-0.02, -0.01)}
    intervals |= {"lung_excess": (-0.01, 0.01), "infection_excess": (0.03, 0.05)}
    intervals |= {"lung_asd": (-1.0, 1.0), "infection_asd": (-9.0, -3.0)}
    found = {"lung": {}, "infection": {}}
    for name, (low, high) in (intervals | given).items():
        task, score = name.split("_", maxsplit=1)
        difference = {"mean": (low + high) / 2, "low": low, "high": high, "p_adjusted": 0.02}
        difference |= {"count": 9, "differing": 9}
        found[task][score] = difference | {"verdict": statistics.verdict(difference)}
    return found


def runs_of(excess=(0.01, 0.051), over=(0.1, 0.3), rank=(0.5, 0.0001), largest=0.4, whole=0.5, **given):
    """Four runs that bear out the reference's claims, each as (IoU, MAE, share of empty predictions, share located).

    All claims but one: what BCE leaves all black it does not locate. `excess`: of BCE and of BCE+IoU. `over`: the interval of
    the gain over the whole lung, which locates the share `whole`. `rank`: rho and p. `largest`: the upper end of the interval
    of the largest third's IoU.
    """
    values = {"lung_bce": (0.957, 0.015, 0, 1), "lung_bce_iou": (0.9567, 0.011, 0, 1)}
    values |= {"infection_bce": (0.01, 0.05, 0.9, 0.1), "infection_bce_iou": (0.37, 0.04, 0, 0.98)}
    values |= given
    runs = {
        name: {
            "name": name,
            "seed": 0,
            "task": name.split("-")[0],
            "loss": name.split("-")[1],
            "best_epoch": 9,
            "epochs": 10,
            "train_loss": 0.2,
            "late_rise": {"mean": 0.1, "error": 0.01},
            "val_loss_falls": 7,
            "asd_where_located": asd_where_located(values[name.replace("-", "_")][0]),
            "val": scores(*values[name.replace("-", "_")]),
            "test": scores(*values[name.replace("-", "_")]),
            "parameters": 8044545,
            "training_seconds": 60.0,
            "leaked": 0,
            "test_without_leaked": scores(*values[name.replace("-", "_")]),
            "threshold": {"best": 0.4, "gain": -0.0123},
            "by_size": [{"smallest": 0.1, "largest": 0.2, "mean": 0.31, "low": 0.2, "high": largest, "count": 3}] * 3,
            "size_rank": {"rho": rank[0], "p": rank[1]},
            "over_whole_lung": {"mean": sum(over) / 2, "low": over[0], "high": over[1]},
        }
        for name in RUN_NAMES
    }
    for run in runs.values():
        run["test"]["calibration"]["image"]["excess"] = excess[run["loss"] == "bce_iou"]
        run["val"]["whole_lung"] = run["test"]["whole_lung"] = {"iou": 0.2345, "located": whole}
    return runs


def masks(image=(0.25, 0.05), lung=0.2, alike=(0.6, 0.15)):
    """What 1_eda found, as far as verdicts go by it: each pair is for lungs and infections."""
    return {
        "lung": {"image_share_mean": image[0], "likeness_median": alike[0], "lung_share_median": 1.0},
        "infection": {"image_share_mean": image[1], "likeness_median": alike[1], "lung_share_median": lung},
    }


RISING = tuple(np.linspace(0.05, 0.5, 10))


def verdicts(iou=RISING, image=(0.25, 0.05), lung=0.2, alike=(0.6, 0.15), intervals=(), **given):
    runs = runs_of(**given)
    runs["infection-bce_iou"]["late_rise"] = results.late_rise(np.array(iou))
    return results.verdicts(runs, masks(image, lung, alike), compared(**dict(intervals)))


def test_verdicts_on_the_references_own_numbers():
    assert verdicts() == {
        "lung_iou": "none",
        "lung_mae": "lower",
        "infection_iou": "higher",
        "infection_mae": "lower",
        "lung_brier": "none",
        "infection_brier": "higher",
        "lung_hard_mae": "none",
        "infection_hard_mae": "lower",
        "lung_excess": "none",
        "infection_excess": "higher",
        "lung_asd": "none",
        "infection_asd": "lower",
        "lung_confidence": "none",
        "infection_confidence": "worse",
        "recommended": "infections",
        "beats_whole_lung": "yes",
        "smaller_is_harder": True,
        "largest_still_harder": True,
        "lung_high": "yes",
        "lung_comparable": "yes",
        "infection_comparable": "no",
        "infection_located": False,
        "outlines_harder": True,
        "bce_all_zero": True,
        "infection_harder": True,
        "tasks_matter_more": True,
        "plateau": "rising",
        "lungs_more_alike": True,
        "small_in_image": True,
        "small_in_lung": True,
    }


# For each verdict: numbers that turn it, what the page says before, and what it says then.
TURNED = {
    "lung_iou": (
        {"intervals": {"lung_iou": (0.01, 0.02)}},
        "On the test films no difference in IoU was found between the losses",
        "On the test films BCE+IoU has the higher IoU",
    ),
    "lung_high": (
        {"lung_bce": (0.94, 0.015, 0)},
        "The reference has an IoU above 0.95 with both losses: so it is here",
        "The reference has an IoU above 0.95 with both losses: here it is surely below with one of the losses",
    ),
    "infection_located": (
        {"infection_bce": (0.2, 0.05, 0.0, 0.9)},
        "in 10.0 % (BCE) and 98.0 % (BCE+IoU) of the infected test films, and for whoever calls the whole lung infected in "
        "50.0 % . The networks do not have that in 90 % or more, and more often than the whole lung, with both losses and on "
        "validation films too, so we do not say that the place is found, and where it is, the outlines",
        "With both losses, on validation films too, the networks have that in 90 % or more and more often than the whole lung: "
        "the place is found, but where it is, the outlines",
    ),
    "outlines_harder": (
        {"infection_bce_iou": (0.96, 0.04, 0, 0.98)},
        "are 2.0 and 1.6 pixels off (mean ASD), further than those of lungs with both losses",
        "are 2.0 and 1.0 pixels off (mean ASD), which with one of the losses at least is not surely further than those of",
    ),
    "lung_comparable": (
        {"intervals": {"lung_iou": (-0.01, 0.01)}},
        "so they are, for the whole interval is within ±0.005",
        "whether they are is open here",
    ),
    "infection_comparable": (
        {"intervals": {"infection_iou": (0.001, 0.004)}},
        "What speaks for BCE+IoU is the overlap on infections, the lower",
        "What speaks for BCE+IoU is the overlap on infections (by less than 0.005), the lower",
    ),
    "lung_mae": (
        {"intervals": {"lung_mae": (-0.002, 0.003)}},
        "BCE+IoU has the lower MAE, which is the reference",
        "No difference in MAE was found",
    ),
    "infection_mae": (
        {"intervals": {"infection_mae": (-0.002, 0.003)}},
        "the lower MAE on lungs (of probabilities, not of masks), the lower MAE on infections and the nearer outlines",
        "lower MAE on lungs (of probabilities, not of masks) and the nearer outlines on infections. What",
    ),
    "infection_iou": (
        {"intervals": {"infection_iou": (-0.02, -0.01)}},
        "For infections it is the better choice here by its overlap",
        "For infections it is the worse choice here by its overlap",
    ),
    "recommended": (
        {"intervals": {"infection_iou": (0.001, 0.004)}},
        "By overlap the recommendation is borne out for infections only.",
        "For infections its overlap is higher, but by too little to choose by (less than 0.005) (test 0.370 against 0.010 ). "
        "By overlap the recommendation is borne out for neither.",
    ),
    "beats_whole_lung": (
        {"over": (-0.1, 0.1)},
        "on every film, has 0.235 on the test films. Both networks, which are not told the lungs, are above that: the mean "
        "difference is +0.200 (95 % interval +0.100 to +0.300 ) with BCE",
        "on every film, has 0.235 on the test films. It is open whether both networks are above that",
    ),
    "smaller_is_harder": (
        {"rank": (0.2, 0.1)},
        "Smaller infections are harder to find (Spearman’s ρ of size and IoU with BCE+IoU +0.50 , p &lt; 0.001 ), but even",
        "That smaller infections are harder to find does not show (Spearman’s ρ of size and IoU with BCE+IoU +0.20 , p = 0.100",
    ),
    "largest_still_harder": (
        {"largest": 0.97},
        "but the largest third is below the lungs too: size explains at most a part of the gap.",
        "and the largest third is not surely below the lungs.",
    ),
    "lung_hard_mae": (
        {"intervals": {"lung_hard_mae": (-0.02, -0.01)}},
        "0.0110 (BCE+IoU) on lungs (no difference found)",
        "0.0110 (BCE+IoU) on lungs (lower with BCE+IoU)",
    ),
    "infection_hard_mae": (
        {"intervals": {"infection_hard_mae": (-0.01, 0.01)}},
        "on infections (lower with BCE+IoU)",
        "on infections (no difference found)",
    ),
    "lung_excess": (
        {"intervals": {"lung_excess": (-0.02, -0.01)}},
        "On lungs, film by film, no difference in that was found",
        "On lungs, film by film, BCE+IoU is the less confident (mean difference −1.5 ",
    ),
    "infection_excess": (
        {"intervals": {"infection_excess": (-0.02, 0.01)}},
        "On infections, film by film, BCE+IoU is the more confident (mean difference +4.0 , 95 % interval +3.0 to +5.0 ",
        "On infections, film by film, no difference in that was found",
    ),
    "lung_confidence": (
        {"intervals": {"lung_excess": (0.01, 0.02)}},
        "the higher Brier score on infections and the over-confidence on infections",
        "the higher Brier score on infections, the over-confidence on lungs and the over-confidence on infections",
    ),
    "infection_confidence": (
        {"excess": (0.06, 0.02), "intervals": {"infection_excess": (-0.05, -0.04)}},
        "and the over-confidence on infections",
        "the lower MAE on infections, the nearer outlines on infections and the lesser over-confidence on infections.",
    ),
    "lung_brier": (
        {"intervals": {"lung_brier": (-0.02, -0.01)}},
        "adjusted p = 0.020 ; interval and p disagree), and no difference in the Brier score was found",
        "interval and p disagree), and BCE+IoU has the lower (better) Brier score",
    ),
    "infection_brier": (
        {"intervals": {"infection_brier": (-0.01, 0.02)}},
        "is the more confident (mean difference +4.0 , 95 % interval +3.0 to +5.0 , adjusted p = 0.020 ), and BCE+IoU has the "
        "higher (worse) Brier score",
        "adjusted p = 0.020 ), and no difference in the Brier score was found",
    ),
    "lung_asd": (
        {"intervals": {"lung_asd": (1.0, 2.0)}},
        "(BCE+IoU) off in the mean (ASD), and no difference was found",
        "On lungs the outlines are 1.50 (BCE) and 1.50 pixels (BCE+IoU) off in the mean (ASD), and BCE+IoU is further off",
    ),
    "infection_asd": (
        {"intervals": {"infection_asd": (-1.0, 2.0)}},
        "(BCE+IoU) off in the mean (ASD), and BCE+IoU is nearer",
        "On infections the outlines are 1.50 (BCE) and 1.50 pixels (BCE+IoU) off in the mean (ASD), and no difference was",
    ),
    "bce_all_zero": (
        {"infection_bce": (0.01, 0.05, 0.1)},
        "That is so here: trained with BCE alone",
        "That is not so here",
    ),
    "infection_harder": (
        {"infection_bce_iou": (0.9, 0.04, 0)},
        "the task is much harder, as reported",
        "so we do not call the task much harder",
    ),
    "tasks_matter_more": (
        {"infection_bce_iou": (0.8, 0.04, 0)},
        "What separates the tasks is more than what separates the losses",
        "What separates the losses is no less than what separates the tasks",
    ),
    "plateau": (
        {"iou": (0.1,) * 5 + (0.5,) * 5},
        "was still learning when training ended",
        "has come to a plateau",
    ),
    "lungs_more_alike": (
        {"alike": (0.6, 0.55)},
        "lung masks are more alike than infection masks",
        "lung masks are not clearly more alike",
    ),
    "small_in_image": (
        {"image": (0.25, 0.14)},
        "infections are indeed a much smaller part of the image",
        "infections are not a much smaller part of the image",
    ),
    "small_in_lung": (
        {"lung": 0.55},
        "they are a small part of the lung",
        "they are no small part of the lung",
    ),
}


@pytest.mark.parametrize("name", TURNED)
def test_turned_numbers_turn_the_verdict_and_the_sentence(project, name):
    given, before, after = TURNED[name]
    assert verdicts(**given)[name] != verdicts()[name]
    of_films = ("iou", "image", "lung", "alike", "intervals")
    scored = {run: values for run, values in given.items() if run not in of_films}
    changes = {"verdicts": verdicts(**given), "comparisons": compared(**given.get("intervals", {}))}
    text, turned = project(), project(**changes, runs=runs_of(**scored))
    assert before in text and after not in text
    assert after in turned and before not in turned


def test_every_verdict_is_turned_by_a_test():
    assert set(TURNED) == set(verdicts())


def test_a_small_change_of_confidence_counts_for_nothing():
    higher = {"infection_excess": (0.004, 0.006)}
    assert verdicts(excess=(-0.001, 0.004), intervals=higher)["infection_confidence"] == "none"
    assert verdicts(excess=(-0.05, 0.055), intervals=higher)["infection_confidence"] == "none"
    assert verdicts(excess=(-0.05, 0.01), intervals=higher)["infection_confidence"] == "better"


def test_plateau():
    rise = results.late_rise(np.array([0.9] * 6 + [0.1, 0.3, 0.5, 0.7]))  # fifths of two epochs
    assert rise == pytest.approx({"mean": 0.4, "error": (0.02 / 2 + 0.02 / 2) ** 0.5})
    assert verdicts(iou=(0.1,) * 6 + (0.7, 0.69, 0.4, 0.41))["plateau"] == "falling"
    # The last two epochs lie apart by more than they lie below the two before.
    assert verdicts(iou=(0.1,) * 6 + (0.718, 0.716, 0.726, 0.655))["plateau"] == "unsteady"
    assert verdicts(iou=(0.1,) * 6 + (0.6, 0.7, 0.7, 0.6))["plateau"] == "unsteady"
    assert verdicts(iou=(0.6,))["plateau"] == verdicts(iou=RISING[:9])["plateau"] == "short"


def test_comparable_is_said_of_intervals():
    """Not of a difference that was found or not found: small ones are found on many films, large ones missed on few."""
    said = {
        (-0.004, 0.005): "yes",
        (0.001, 0.004): "yes",
        (-0.004, 0.006): "open",
        (0.004, 0.02): "open",
        (0.006, 0.02): "no",
        (-0.02, -0.006): "no",
    }
    for interval, wanted in said.items():
        assert verdicts(intervals={"lung_iou": interval})["lung_comparable"] == wanted
    few = compared()
    few["lung"]["iou"] |= {"count": 5}
    assert results.verdicts(runs_of(), masks(), few)["lung_comparable"] == "few"


def test_lungs_above_a_limit_are_said_of_all_intervals():
    # Each number is the middle of an interval of ±.005.
    wanted = {(0.953, 0.94): "no", (0.953, 0.95): "open", (0.956, 0.956): "yes"}
    for (bce, bce_iou), said in wanted.items():
        assert verdicts(lung_bce=(bce, 0.015), lung_bce_iou=(bce_iou, 0.011))["lung_high"] == said
    runs = runs_of()
    runs["lung-bce"]["val"]["intervals"]["iou"]["low"] = None  # one film
    assert results.verdicts(runs, masks(), compared())["lung_high"] == "open"
    runs["lung-bce_iou"]["test"]["intervals"]["iou"]["high"] = 0.94
    assert results.verdicts(runs, masks(), compared())["lung_high"] == "no"


def test_empty_with_both_losses_is_not_an_escape():
    assert not verdicts(infection_bce_iou=(0.01, 0.04, 0.95))["bce_all_zero"]


def test_a_claim_must_hold_on_validation_and_test():
    runs = runs_of()
    runs["infection-bce"]["test"] = scores(0.9, 0.05)
    assert not results.verdicts(runs, masks(), compared())["infection_harder"]


def test_much_harder_goes_by_intervals():
    runs = runs_of(infection_bce_iou=(0.8, 0.04, 0))
    assert results.verdicts(runs, masks(), compared())["infection_harder"]
    runs["infection-bce_iou"]["test"]["intervals"]["iou"]["high"] = 0.87  # the lungs' lower end is .9517
    assert not results.verdicts(runs, masks(), compared())["infection_harder"]


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
        return scores.set_index(pd.Index(names))

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


@pytest.fixture(scope="session")
def figures_made(tmp_path_factory):
    """A folder with one stand-in under the name of every figure: drawn once, since that takes seconds."""
    folder = tmp_path_factory.mktemp("figures")
    names = report.pictures()
    style.save(eda_figures.pixel_imbalance({"lung": 0.2}), folder, names[0])
    plt.close("all")
    for drawn in list(folder.iterdir()):
        for name in names[1:]:
            shutil.copy(drawn, drawn.with_stem(name))
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch, figures_made):
    """A folder with the report's sources and stand-in figures; returns a function: results -> text of the HTML."""
    shutil.copytree(files.ROOT / "report", tmp_path / "report", ignore=shutil.ignore_patterns("build"))
    shutil.copytree(figures_made, tmp_path / "figures" / "made")
    task = {
        "films": {split: {"Normal": 3, "All": 3} for split in ("Train", "Val", "Test", "All")},
        "fingerprint": "0123",
    }
    audit = {
        "films": 9,
        "pairs": 1,
        "exact": 1,
        "across": 1,
        "mask_iou": 0.876,
        "leaked": [],
        "tiny": 0,
        "specks": 2,
        "outside": 0,
    }
    shortcut = {"brightness": 130.0, "brightness_auc": 0.7, "marked": 0.2, "marks_auc": 0.6}
    audit |= {"official": 100, "shortcuts": {"COVID-19": shortcut, "Normal": shortcut}}
    task |= {
        "controls": 9,
        "audit": audit,
        "image_share_mean": 0.2,
        "lung_share_median": 0.2,
        "regions_median": 2.0,
        "likeness_median": 0.5,
    }
    found = {
        "preset": "made",
        "about": "a test",
        "collection": "COVID-QU-Ex",
        "phantom": False,
        "data": "covidqu",
        "reduction": "mean of a test",
        "tolerance": 2.0,
        "size": "256",
        "spread": None,
        "consistency": {"pairs": 8, "pooled": 0, "per_image": 7},
        "films": {"lung": task, "infection": task},
        "experiments": [{"name": name, "seed": 0} for name in RUN_NAMES],
        "settings": [{"label": "epochs", "reference": "10", "lung": "7", "infection": "8"}],
        "runs": runs_of(),
        "verdicts": verdicts(),
        "thresholds": results.THRESHOLDS,
        "comparisons": compared(),
        "conventions": None,
        "ablation": None,
        "environment": {
            "device": "CPU",
            "threads": "2",
            "processor": "a processor",
            "precision": "fp32",
            "commit": "abc",
        }
        | {"python": "3.11", "packages": {"torch": "2.13.0"}},
        "training_minutes": 4.0,
    }

    def html(**changes) -> str:
        content = copy.deepcopy(found) | changes
        files.write_json(tmp_path / "report" / "build" / "made" / "results.json", content)
        pdf, page = report.render("made", root=tmp_path)
        assert pdf.read_bytes().startswith(b"%PDF")
        text = re.sub(
            r"<style>.*?</style>|<script>.*?</script>|<nav.*?</nav>|<[^>]+>", " ", page.read_text(), flags=re.S
        )
        return " ".join(text.split())

    html.found = found
    html.page = tmp_path / "report" / "build" / "made" / "report.html"
    return html


def test_the_main_findings_are_said_to_be_borne_out_if_all_are(project):
    """In the conclusion, and those about lungs in the abstract too."""
    text = project()
    assert "main findings are borne out: on lungs the IoU is above 0.95 with both losses" in text
    assert "As in the reference, the IoU on lungs is above 0.95" in text
    for turned in ({"lung_bce": (0.952, 0.015, 0, 1)}, {"intervals": {"lung_iou": (-0.01, 0.01)}}):
        text = project(verdicts=verdicts(**turned))
        assert "Not all of the reference’s main findings (an IoU above 0.95 on lungs" in text.replace("'", "’")
        assert "The reference found an IoU above 0.95 on lungs" in text and "As in the reference, the IoU" not in text
    harder = project(verdicts=verdicts() | {"infection_harder": False})
    assert "Not all of the reference" in harder and "As in the reference, the IoU on lungs is above 0.95" in harder


def test_steady_convergence_is_counted(project):
    runs = runs_of()
    runs["lung-bce"]["val_loss_falls"] = 5
    assert "fell from one epoch to the next 5 of 9 times with BCE and 7 of 9 times with BCE+IoU" in project(runs=runs)
    runs["lung-bce"]["epochs"] = 1
    assert "converge steadily" not in project(runs=runs)


@pytest.mark.parametrize(
    ("plateau", "said"),
    [
        ("falling", "was getting worse when training ended"),
        ("unsteady", "by +0.100 ± 0.010 (standard error): the epochs are too unsteady to tell"),
        ("short", "With fewer than ten epochs the curve is too short"),
    ],
)
def test_other_ends_of_a_curve(project, plateau, said):
    assert said in project(verdicts=verdicts() | {"plateau": plateau})


def test_nothing_for_the_overlap_loss(project):
    names = ("lung_mae", "infection_iou", "infection_mae", "infection_excess", "infection_asd")
    intervals = dict.fromkeys(names, (-0.1, 0.1))
    text = project(verdicts=verdicts(intervals=intervals), comparisons=compared(**intervals))
    assert (
        "neither overlap nor MAE nor outlines nor calibration speak for BCE+IoU. What speaks against it is the higher Brier "
        "score on infections." in text
    )


def test_a_lower_mae_of_probabilities_alone_is_told_as_that(project):
    intervals = {"infection_hard_mae": (-0.02, 0.01)}
    assert "the lower MAE on lungs (of probabilities, not of masks), the lower MAE on infections and" in project()
    text = project(verdicts=verdicts(intervals=intervals), comparisons=compared(**intervals))
    assert "the lower MAE on infections (of probabilities, not of masks)" in text


def test_what_speaks_against_the_overlap_loss(project):
    worse = {
        "lung_iou": (-0.2, -0.1),
        "infection_iou": (-0.2, -0.1),
        "lung_mae": (0.1, 0.2),
        "infection_mae": (0.1, 0.2),
        "lung_asd": (0.1, 0.2),
    }
    assert (
        "What speaks against it is the overlap on lungs, the overlap on infections, the higher MAE on lungs, the higher MAE on "
        "infections, the higher Brier score on infections, the outlines further off on lungs and the over-confidence on "
        "infections."
    ) in project(verdicts=verdicts(intervals=worse), comparisons=compared(**worse))
    better = {"infection_brier": (-0.2, -0.1), "infection_excess": (-0.1, 0.1)}
    text = project(verdicts=verdicts(intervals=better), comparisons=compared(**better))
    assert "the lower Brier score on infections and the nearer outlines on infections." in text
    assert "speaks against" not in text


def test_thresholds_are_stated_as_they_are(project):
    other = {
        "far_iou": 0.2,
        "small_share": 0.3,
        "much_smaller": 0.4,
        "rising_iou": 0.07,
        "high_iou": 0.9,
        "mostly_located": 0.8,
    }
    text = project(thresholds=results.THRESHOLDS | other)
    assert text.count("above 0.9 ") == 3 and "do not have that in 80 % or more" in text
    assert (
        "more than 0.2 below" in text
        and "under 30 %" in text
        and "much under 40 %" in text
        and "more than 0.07 above" in text
    )


def test_numbers_come_from_the_results(project):
    runs = runs_of(lung_bce=(0.1234, 0.4321, 0), infection_bce_iou=(0.5678, 0.8765, 0))
    text = project(runs=runs)
    for number in ("0.1234", "0.4321", "0.5678", "0.8765", "0.123 (BCE)", "is 0.588 instead of 0.568"):
        assert number in text
    for reported in ("0.0274", "0.0243", "0.0151", "0.9570", "0.4105", "0.4020", "0.0438", "0.3714"):
        assert reported in text


def test_leaks_are_told(project):
    text = project()
    assert text.count("No scored test film stands in another split.") == 2
    assert "The same without the test films" not in text
    runs = runs_of()
    runs["infection-bce_iou"]["leaked"] = 2
    runs["infection-bce_iou"]["test_without_leaked"]["iou"] = 0.3456
    text = project(runs=runs)
    assert "2 scored test films stand in another split too; without them, the test IoU of BCE+IoU is 0.346" in text
    assert "The same without the test films that also stand in another split" in text
    runs["infection-bce_iou"]["test_without_leaked"]["iou"] = None
    assert "without them there is none left to score" in project(runs=runs)
    assert "pairs show" not in text and "1 pair shows the same picture" in text
    assert text.count("1 across splits; its two masks have an IoU of 0.88") == 2
    two = {
        "lung": copy.deepcopy(project.found["films"]["lung"]),
        "infection": copy.deepcopy(project.found["films"]["lung"]),
    }
    for task in two:
        two[task]["audit"] |= {"pairs": 2}
    two["lung"]["audit"]["mask_iou"] = None
    text = project(films=two)
    assert "1 across splits. " in text and text.count("the two masks of a pair have an IoU of") == 1
    assert "0.88 in the mean (pairs of controls left out)." in text


def test_structure_of_the_page(project):
    text = project()
    page = project.page.read_text()
    sections = ["Introduction", "Exploratory Data Analysis", "Methods", "Results"]
    sections += ["Results Beyond the Reference", "Discussion", "Conclusion"]
    assert re.findall(r"<h2[^>]*>[IV]+\. ([^<]+)</h2>", page) == sections
    assert page.count("<table>") == 6
    assert [f"Table {number}:" in text for number in ("I", "II", "III", "IV", "V", "VI")] == [True] * 6
    shown = 10
    assert len(report.pictures()) - 1 == shown  # but for that of experiments beside the reference's four
    assert [f"Fig. {number}:" in text for number in ("A1", "A2", *range(1, shown - 1))] == [True] * shown
    assert "<math" in page and 'class="equation"' in page and "(1)" in text
    assert page.count("<img") == page.count('alt="') == shown and 'src="http' not in page
    assert "viewport" in page and "max-width" in page
    assert "Synthetic data" not in text


def test_the_appendix_defines_every_score_of_single_films():
    listed = re.search(r"#let definitions = \(\n(.*?)\n\)\n", (files.ROOT / "report" / "report.typ").read_text(), re.S)[
        1
    ]
    assert sorted(re.findall(r'\], "(\w+)", \d\),$', listed, re.M)) == sorted(FILM_SCORES)


def test_films_of_ones_own_are_not_called_covid_qu_ex(project):
    theirs = "The collection has no patient numbers"
    assert "chest X-rays from COVID-QU-Ex" in project() and theirs in project()
    text = project(collection="our hospital")
    assert "chest X-rays from our hospital" in text and "films of our hospital in the folder" in text
    assert "chest X-rays from COVID-QU-Ex" not in text and theirs not in text and "Of the whole collection" not in text


def test_phantoms_are_announced_and_settings_told(project):
    text = project(phantom=True)
    assert text.index("Synthetic data.") < text.index("Abstract.")
    assert "epochs 10 7 8" in text
    # With the reference's own settings there is no such table, and the text says so.
    text = project(settings=[])
    assert (
        "Settings that differ from the reference" not in text
        and "All settings here are the reference's" in text.replace("’", "'")
    )


def test_guards(project):
    runs = runs_of()
    runs["infection-bce"]["test"]["iou"] = None
    with pytest.raises(LabkitError, match="infection-bce has no IoU"):
        project(runs=runs)
    wrong = dict(verdicts())
    del wrong["infection_harder"]
    with pytest.raises(LabkitError, match="infection_harder"):
        project(verdicts=wrong)


def test_pages_that_typst_cannot_tag_are_made_without_tags(project, monkeypatch, capsys):
    class Compiler:
        """typst's, but that it fails to tag letters of some sizes."""

        def __init__(self, *given, **more):
            self.compiler = Typst(*given, **more)

        def compile(self, format, sys_inputs, pdf_tags=True):
            if format == "pdf" and pdf_tags and int(sys_inputs["smaller"]) < fails:
                error = typst.TypstError()
                error.message = (
                    "internal error: parent group (occurred at crates/typst-pdf/src/tags/tree/build.rs:202:14)"
                )
                raise error
            return self.compiler.compile(format=format, sys_inputs=sys_inputs, pdf_tags=pdf_tags)

    Typst = typst.Compiler
    whole = project()
    monkeypatch.setattr(report.typst, "Compiler", Compiler)
    for fails, tags in ((0, True), (report.SIZES - 1, True), (report.SIZES, False)):
        assert project() == whole
        assert (b"/StructTreeRoot" in project.page.with_suffix(".pdf").read_bytes()) == tags
        assert ("report.pdf has no tags for screen readers" in capsys.readouterr().out) == (not tags)


def test_nothing_from_data_is_markup(project):
    text = project(data='#panic("x") $x$ *a* <b>', about="_a_ #b @c")
    assert '#panic("x") $x$ *a*'.replace('"', "&quot;") in text or '#panic("x") $x$ *a*' in text
    assert "_a_ #b @c" in text


def test_results_that_are_not_there(tmp_path):
    with pytest.raises(LabkitError, match="results.json: is not there yet"):
        report.render("nothing", root=tmp_path)


def test_tables(project):
    found = project.found
    table = results.table(found)
    assert table["task"].tolist() == ["lung", "lung", "infection", "infection"]
    assert table["reported_iou"].tolist()[:2] == [0.957, 0.9567] and pd.isna(table["reported_iou"][2])
    assert results.table(found, "infection")["loss"].tolist() == ["bce", "bce_iou"]
    assert {"best_epoch", "train_loss", "val_loss", "val_mae", "val_iou", "test_mae", "test_iou"} <= set(table)


def test_settings_that_differ():
    assert results.settings(load_all("paper")) == []
    rows = {row["label"]: row for row in results.settings(load_all("laptop"))}
    assert rows["epochs"] == {"label": "epochs", "reference": "10", "lung": "60", "infection": "40"}
    assert "phantom films for training, each task" not in rows
    assert {row["label"] for row in results.settings(load_all("smoke"))} >= {"phantom films for training, each task"}
    runs = [run.model_copy(update={"attention": run.task == "lung"}) for run in load_all("paper")]
    told = {"label": "attention gates on the skips", "reference": "no", "lung": "yes", "infection": "no"}
    assert results.settings(runs) == [told]


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


def convention_rows(controls=True):
    """Four COVID-19 films and two controls, counted by hand: 100 pixels each."""
    rows = pd.DataFrame(
        {
            "control": [False] * 4 + [True] * 2,
            "intersection": [10, 20, 0, 30, 0, 0],
            "union": [20, 40, 10, 30, 0, 10],
            "predicted": [10, 30, 0, 30, 0, 10],
            "truth": [20, 30, 10, 30, 0, 0],
            "pixels": 100,
            "absolute_error": [10, 20, 10, 0, 0, 10],
            "loss": [0.4, 0.6, 0.9, 0.1, 0.0, 0.5],
        }
    )
    return rows if controls else rows[~rows["control"]]


REPORTED = {"iou": 0.5, "mae": 0.1, "val_loss": 0.5}


def test_conventions_side_by_side():
    found = conventions.compare({"without controls": convention_rows()}, REPORTED)
    by = {(row["films"], row["convention"]): row for row in found["rows"]}
    own = by["COVID-19 films", "per-image mean, empty truths left out"]
    assert own["iou"] == pytest.approx((0.5 + 0.5 + 0 + 1) / 4)
    assert (own["mae"], own["val_loss"]) == pytest.approx((0.1, 0.5)) and own["distance"] == pytest.approx(0)
    assert found["nearest"] == own and found["near"]
    # Two controls count as four, as in the official mix of 1 : 1.
    zero = by["all films", "per-image mean, empty truths 0"]
    assert zero["iou"] == pytest.approx(2 / 8)
    assert (zero["mae"], zero["val_loss"]) == pytest.approx(((0.4 + 2 * 0.1) / 8, (2.0 + 2 * 0.5) / 8))
    assert zero["distance"] == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert by["all films", "per-image mean, empty truths 1 if predicted empty, else 0"]["iou"] == pytest.approx(
        (2 + 2) / 8
    )
    assert len(found["rows"]) == 4 + 7


def test_no_controls_no_conventions_with_them():
    found = conventions.compare({"without controls": convention_rows(controls=False)}, REPORTED)
    assert {row["films"] for row in found["rows"]} == {"COVID-19 films"}


def test_conventions_are_of_the_seed_that_the_report_is_of(monkeypatch):
    run = load("smoke", "infection-bce_iou")
    controls = run.model_copy(update={"name": f"{run.name}-controls", "controls": True})
    later = [each.model_copy(update={"seed": 1}) for each in (run, controls)]
    asked = []

    def rows_of(folder, split, controls):
        asked.append(folder)
        return convention_rows(controls=False)

    monkeypatch.setattr(results.metrics, "rows_of", rows_of)
    assert results._conventions([*later, run, controls], {run.name: run}) is None  # without control films
    assert asked == [run.folder, controls.folder]


def test_section_on_conventions(project):
    anchors = {
        "infection": {"iou": 0.83, "dice": 0.88, "pooled": False},
        "lung": {"iou": 0.96, "dice": 0.98, "pooled": False},
    }
    extra = {"anchors": anchors, "anchor_without_controls": conventions.without_controls(0.83)}
    assert extra["anchor_without_controls"] == pytest.approx(0.66)
    found = conventions.compare({"without controls": convention_rows()}, REPORTED) | extra
    text = project(conventions=found)
    assert "F. What the Reported Score May Mean" in text and "That is near" in text
    assert "scored on COVID-19 films, per-image mean, empty truths left out: 0.0 % off" in text
    far = (
        conventions.compare({"without controls": convention_rows()}, {"iou": 0.9, "mae": 0.9, "val_loss": 0.9}) | extra
    )
    assert "no convention tried here fits" in project(conventions=far)
    assert "What the Reported Score May Mean" not in project()
    # Films of one's own may have any number of controls, and are no sample of the reference's.
    assert "one for each COVID-19 film. Table" in text
    own = project(conventions=found, collection="our hospital")
    assert "one for each COVID-19 film. Table" not in own
    assert (
        "These are films of our hospital: the table shows how far a convention moves a score, and says nothing" in own
    )


def cell_with(value, key):
    """What the cell of 4_figures that shows an entry of the results shows, if the entry has this value."""
    notebook = nbformat.read(ROOT / "notebooks" / "4_figures.ipynb", as_version=4)
    (source,) = [cell.source for cell in notebook.cells if f'found["{key}"]' in cell.source]
    *lines, last = source.splitlines()
    names = {"pd": pd, "found": {key: value}}
    exec("\n".join(lines), names)
    return eval(last, names)


def test_spread_over_seeds(project):
    ious = {
        ("infection-bce", 0): 0.5,
        ("infection-bce", 4): 0.6,
        ("infection-bce_iou", 0): 0.7,
        ("infection-bce_iou", 4): 0.64,
    }
    given = {"lung-bce": 0.9, "lung-bce_iou": 0.9}
    experiments = [run.model_copy(update={"seed": seed}) for seed in (0, 4) for run in load_all("smoke")]
    summaries = {
        run.folder: {"test": {"iou": ious.get((run.name, run.seed), given.get(run.name)), "mae": 0.1}}
        for run in experiments
    }
    found = results.spread(experiments, summaries)
    assert found["seeds"] == [0, 4]
    assert found["runs"]["infection-bce"]["iou"] == pytest.approx(
        {"mean": 0.55, "deviation": 0.1 / 2**0.5, "low": 0.5, "high": 0.6}
    )
    assert found["gains"]["infection"]["iou"]["mean"] == pytest.approx((0.2 + 0.04) / 2)
    assert found["gains"]["lung"]["iou"]["deviation"] == 0
    assert found["gains"]["infection"]["iou"]["one_sign"] and not found["gains"]["lung"]["iou"]["one_sign"]
    assert results.spread(load_all("smoke"), summaries) is None
    table = cell_with(found, "spread")
    assert table.loc[("infection-bce", "iou"), "mean"] == pytest.approx(0.55)
    assert table.loc[("infection", "iou"), "high"] == pytest.approx(0.2)
    assert cell_with(None, "spread") == "one seed a run: not known"
    text = project(spread=found)
    assert "Each of the four runs was trained with 2 seeds (0, 4)" in text and "0.550 ± 0.071 (BCE)" in text
    assert "2 seeds a run" in text and "of one seed each" not in text and "means over seeds" not in text
    assert "With the same seed, BCE+IoU minus BCE is 0.000 ± 0.000 (from 0.000 to 0.000 ) on lungs and +0.120" in text
    assert (
        "Which loss has the higher IoU on lungs, MAE on lungs or MAE on infections depends on the seed, so the conclusion "
        "leaves that out."
    ) in text
    assert "BCE+IoU is the overlap on infections and the nearer outlines on infections. What speaks against" in text
    assert "not with every seed" not in text
    turned = copy.deepcopy(found)
    turned["gains"]["infection"]["iou"]["one_sign"] = False
    assert "it is the better choice here by its overlap, though not with every seed" in project(spread=turned)
    assert "of one seed each" in project() and "Spread Between Trainings" not in project()


def test_thirds_by_size():
    truth = np.array([50, 10, 0, 30, 40, 20, 60])
    rows = pd.DataFrame({"truth": truth, "pixels": 100, "intersection": truth / 2, "union": np.maximum(truth, 1)})
    thirds = results.by_size(rows)
    assert [(third["smallest"], third["largest"], third["count"]) for third in thirds] == [
        (0.1, 0.2, 2),
        (0.3, 0.4, 2),
        (0.5, 0.6, 2),
    ]
    assert all(third["mean"] == pytest.approx(0.5) for third in thirds)
    assert len(results.by_size(rows[1:2])) == 1


def test_own_scores_pass_the_check_of_conventions():
    assert results.consistency(runs_of()) == {"pairs": 8, "pooled": 0, "per_image": 0}
    runs = runs_of()
    runs["lung-bce"]["test"]["dice"] += 0.001
    runs["lung-bce"]["val"]["pooled_dice"] += 0.001
    assert results.consistency(runs) == {"pairs": 8, "pooled": 1, "per_image": 1}


def test_all_scores_in_one_table(project):
    table = results.all_scores(project.found).set_index(["run", "split"])
    assert len(table) == 12 and table.at[("lung-bce", "test"), "calibration_image_ece"] == 0.0123
    assert table.at[("infection-bce", "val"), "severity_kappa"] == 0.8 and "intervals_iou_low" not in table


def test_a_small_preset_from_films_to_results(smoke, tree, tmp_path):
    """collect() on real files: what is left out where films leak, and every number where the report looks for it."""
    films = shutil.copytree(tree, tmp_path / "films")
    samples = dataset.index(films, "lung").groupby("split")["image"].first()
    shutil.copy(samples["Train"], samples["Test"])
    experiments = [smoke(name, epochs=1) for name in RUN_NAMES]
    experiments = [
        run.model_copy(update={"name": name, "data": str(films)}) for run, name in zip(experiments, RUN_NAMES)
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


def test_section_on_what_switches_gain(project):
    def row(name, mean, p, verdict, seeds=(0,)):
        gain = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "p_adjusted": p, "verdict": verdict}
        costs = {"val_gain": 0.011, "val_gain_in_time": -0.002, "time": 1.5, "parameters": 1.25}
        return {
            "name": name,
            "title": name,
            "task": "lung" if name.startswith("lung") else "infection",
            "seeds": list(seeds),
            "changes": ["flips 3", "tta 2"],
            "iou": 0.5,
            "gain": gain,
            "gains": [mean + 0.02 * seed for seed in seeds],
        } | costs

    def switches(rows: list[dict], seen: list[str] | None = None) -> str:
        return project(ablation={"alpha": 0.05, "seen": seen, "rows": rows})

    better, worse = (
        row("infection-better", 0.05, 0.0001, "higher", (0, 1, 2)),
        row("infection-worse", -0.03, 0.01, "lower"),
    )
    alike = row("lung-alike", 0.001, 0.9, "none")
    text = switches([better, worse, alike])
    assert "Beyond the Reference's Recipe" in text.replace("’", "'")
    assert (
        "A higher IoU by more than chance over films ( p &lt; 0.05, and an interval above 0): infection-better +0.050 "
        "( +0.040 to +0.060 ). A lower one"
    ) in text
    assert "A lower one: infection-worse −0.030" in text and "For the other one no difference was found" in text
    assert "What was trained with one seed may owe its difference to that." in text
    assert (
        "flips 3, tta 2 3 ( +0.050 to +0.090 ) 0.500 +0.050 ( +0.040 to +0.060 ) &lt; 0.001 +0.011 −0.002 1.50× 1.25×"
        in text
    )
    text = switches([alike, alike])
    assert (
        "No experiment has a higher IoU by more than chance" in text
        and "For all of them no difference was found" in text
    )
    assert "A lower one" not in text and "one seed may owe" not in text
    assert "an oracle" not in text
    told = alike | {
        "name": "infection-told",
        "title": "infection-told",
        "task": "infection",
        "changes": ["lung_input", "lungs true (an oracle)"],
    }
    assert "told the true lungs (an oracle) shows what" in switches([alike, told])
    wider = switches([better | {"name": "wider", "title": "wider (lungs)", "task": "lung"}])
    assert "wider (lungs) +0.050" in wider and "wider (lungs) flips 3" in wider
    assert "For it no difference was found" in switches([alike])
    start = "Some experiments start from the weights of another run or ask its network for the lungs."
    assert start not in switches([alike])
    assert f"{start} No test film is among the films that such a run was trained or chosen on." in switches([alike], [])
    assert "1 test film is among the films that such a run was trained or chosen on, so on it they have" in switches(
        [alike], ["COVID-19/a.png"]
    )
    assert "Recipe" not in project().replace("recipe", "")
    # A table too long for a page with other things on it goes to the end.
    for count, place in ((12, "Table IV:"), (40, "Table VII:")):
        text = switches([alike] * count)
        assert f"{place} Gain in per-image IoU" in text


def test_a_better_threshold_is_chosen_on_validation_films(monkeypatch):
    """Bins 0 to 14: all true pixels lie in bin 9, and false ones in bin 7 or 8; a threshold of 9/15 finds the mask alone."""

    def bins(experiment, split):
        films = np.zeros((2, 15, 4))
        films[:, 0, 0], films[:, 9, 0], films[:, 9, 2] = 100, 10, 10
        films[:, 8 if split == "val" else 7, 0] = 10
        return {"image": films}

    monkeypatch.setattr(results, "calibration_bins", bins)
    found = results.other_threshold(None, {"val": {"iou": 0.5}, "test": {"iou": 0.5}})
    assert found == {"best": pytest.approx(9 / 15), "gain": pytest.approx(0.5)}
    assert results.other_threshold(None, {"val": {"iou": 1.0}, "test": {"iou": 0.7}}) == {"best": 0.5, "gain": 0.0}


def test_spread_is_of_the_seeds_that_all_four_runs_have():
    once = load_all("smoke")
    more = [run.model_copy(update={"seed": seed}) for seed in (1, 2) for run in once if seed == 1 or run.task == "lung"]
    summaries = {run.folder: {"test": {"iou": 0.1 * run.seed, "mae": 0.1}} for run in once + more}
    assert results.spread(once + more, summaries)["seeds"] == [0, 1]
    assert results.spread(once + more[4:], summaries) is None
