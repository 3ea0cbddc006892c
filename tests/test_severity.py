"""The infected share of the lung."""

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import multiclass_cohen_kappa

from labkit import severity


def rows(predicted, true, lung=100):
    return pd.DataFrame({"lung": lung, "predicted_in_lung": predicted, "truth_in_lung": true})


def test_pixels_are_counted_inside_the_true_lung():
    logits = torch.tensor([4.0, 4.0, -4.0, 4.0]).reshape(1, 1, 2, 2)
    truth = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    lung = torch.tensor([1, 1, 1, 0], dtype=torch.uint8).reshape(1, 1, 2, 2)
    found = {name: int(count[0]) for name, count in severity.count(logits, truth, lung).items()}
    assert found == {"lung": 3, "predicted_in_lung": 2, "truth_in_lung": 2}


def test_grades():
    shares = np.array([0, 0.001, 0.25, 0.2501, 0.5, 0.51, 0.75, 0.76, 1])
    assert severity.grade(shares).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_agreement_by_hand():
    found = severity.summarise(rows([10, 60, 80], [20, 50, 90]))
    differences = np.array([-0.1, 0.1, -0.1])
    assert found["films"] == 3 and found["mae"] == pytest.approx(0.1)
    assert found["bias"] == pytest.approx(differences.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * differences.std(ddof=1))
    assert found["same_grade"] == pytest.approx(2 / 3)  # grades 1, 3, 4 against 1, 2, 4


def test_kappa_equals_torchmetrics():
    random = np.random.default_rng(0)
    true = random.integers(0, 101, 60)
    predicted = (true + random.integers(-30, 31, 60)).clip(0, 100)
    grades = [torch.from_numpy(severity.grade(shares / 100)) for shares in (predicted, true)]
    theirs = multiclass_cohen_kappa(*grades, num_classes=5, weights="quadratic")
    assert severity.summarise(rows(predicted, true))["kappa"] == pytest.approx(theirs.item(), abs=1e-6)


def test_what_is_not_defined_is_none():
    one = severity.summarise(rows([10], [20]))
    assert one["bias"] == pytest.approx(-0.1) and one["low"] is None and one["kappa"] is None
    no_lung = severity.summarise(rows([0], [0], lung=0))
    assert no_lung["films"] == 0 and no_lung["mae"] is None
    assert severity.summarise(rows([10, 20], [0, 0]))["kappa"] == pytest.approx(0)  # all wrong
