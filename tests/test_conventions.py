"""What the reported score of infections may mean: one run under each convention."""

import pandas as pd
import pytest

from labkit import conventions, results
from labkit.presets import load


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


def test_section_on_conventions(worded):
    anchors = {
        "infection": {"iou": 0.83, "dice": 0.88, "pooled": False},
        "lung": {"iou": 0.96, "dice": 0.98, "pooled": False},
    }
    extra = {"anchors": anchors, "anchor_without_controls": conventions.without_controls(0.83)}
    assert extra["anchor_without_controls"] == pytest.approx(0.66)
    found = conventions.compare({"without controls": convention_rows()}, REPORTED) | extra
    text = worded(("pdf", "html"), conventions=found)
    assert "F. What the Reported Score May Mean" in text and "That is near" in text
    assert "scored on COVID-19 films, per-image mean, empty truths left out: 0.0 % off" in text
    far = (
        conventions.compare({"without controls": convention_rows()}, {"iou": 0.9, "mae": 0.9, "val_loss": 0.9}) | extra
    )
    assert "no convention tried here fits" in worded(conventions=far)
    assert "What the Reported Score May Mean" not in worded()
    # Films of one's own may have any number of controls, and are no sample of the reference's.
    assert "one for each COVID-19 film. Table" in text
    own = worded(conventions=found, collection="our hospital")
    assert "one for each COVID-19 film. Table" not in own
    assert (
        "These are films of our hospital: the table shows how far a convention moves a score, and says nothing" in own
    )
