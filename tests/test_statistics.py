"""Intervals and tests against scipy's and by hand."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from labkit import statistics


def test_interval_is_scipys():
    values = stats.gamma(2).rvs(60, random_state=1)
    found = statistics.mean_interval(np.append(values, np.nan))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=2000, method="BCa", batch=100, rng=0).confidence_interval
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((values.mean(), theirs.low, theirs.high))
    assert found["count"] == 60
    assert statistics.mean_interval(values) == statistics.mean_interval(values)  # seeded


def test_interval_of_few_or_equal_values():
    assert statistics.mean_interval([]) == {"mean": None, "low": None, "high": None, "count": 0}
    assert statistics.mean_interval([0.5]) == {"mean": 0.5, "low": None, "high": None, "count": 1}
    assert statistics.mean_interval([0.5] * 4) == {"mean": 0.5, "low": 0.5, "high": 0.5, "count": 4}


def test_coverage_of_the_interval():
    """Of 100 samples of 60 skewed values, about 95 % of the intervals hold the true mean; 88 to 100 % is about 3 sigma."""
    draws = stats.beta(5, 2).rvs((100, 60), random_state=3)
    intervals = [statistics.mean_interval(values) for values in draws]
    held = np.mean([one["low"] <= 5 / 7 <= one["high"] for one in intervals])
    assert 0.88 <= held < 1


def test_both_the_mean_and_the_ranks_must_tell():
    change = np.r_[np.linspace(-0.002, -0.001, 12), np.linspace(0.1, 0.3, 8)]  # a few films move the mean
    found = statistics.paired_difference(np.zeros(20), change)
    assert found["low"] > 0 and found["p"] > statistics.ALPHA and statistics.verdict(found) == "none"
    found = statistics.paired_difference(np.zeros(20), np.abs(change))
    assert statistics.verdict(found) == "higher"
    assert statistics.verdict(found | {"p_adjusted": 0.06}) == "none"  # one of many tests


def test_a_mean_and_ranks_that_are_both_sure_and_opposite():
    change = np.r_[np.linspace(-0.003, -0.001, 240), np.linspace(0.04, 0.06, 60)]
    found = statistics.paired_difference(np.zeros(300), change)
    assert found["low"] > 0 and found["p"] < 1e-3 and found["ranks"] == -1 and statistics.verdict(found) == "none"
    turned = statistics.paired_difference(change, np.zeros(300))
    assert turned["high"] < 0 and turned["ranks"] == 1 and statistics.verdict(turned) == "none"
    assert statistics.paired_difference(np.zeros(3), np.zeros(3))["ranks"] is None


@pytest.mark.parametrize("count", [2, 3, 20, 41])
def test_the_median_of_the_means_of_pairs(count):
    for decimals in (1, 16):  # with ties, and without
        values = np.round(np.random.default_rng(count).normal(size=count), decimals)
        values[0] = 1  # not all are 0
        i, j = np.triu_indices(count)
        wanted = np.median((values[i] + values[j]) / 2)
        assert statistics.paired_difference(np.zeros(count), values)["median"] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("count", [6, 12, 40])
def test_differences_that_are_equal_but_for_rounding(count):
    first = np.linspace(0.2, 0.7, count)
    found = statistics.paired_difference(first, first + 0.1)
    assert (found["low"], found["high"]) == pytest.approx((0.1, 0.1)) and statistics.verdict(found) == "higher"


def test_ties_tell_nothing():
    """Where 4 of 60 films differ, signs alone would be that even by chance in one case of eight; scipy's p is .046."""
    found = statistics.paired_difference(np.zeros(60), np.r_[np.full(56, 0.0), 0.1, 0.2, 0.3, 0.4])
    assert found["differing"] == 4 and found["p"] < statistics.ALPHA and statistics.verdict(found) == "none"


def test_few_films_show_no_difference():
    assert statistics.verdict(statistics.paired_difference([0.1, 0.2, 0.3], [0.2, 0.4, 0.6])) == "none"


def test_paired_difference_by_hand():
    first, second = np.array([0.1, 0.2, 0.3, np.nan]), np.array([0.2, 0.2, 0.6, 0.5])
    found = statistics.paired_difference(first, second)
    assert found["mean"] == pytest.approx((0.1 + 0 + 0.3) / 3) and found["count"] == 3


def test_paired_difference_uses_scipys_test_and_pairs():
    random = np.random.default_rng(0)
    first = random.random(40)
    second = first + random.normal(0.02, 0.02, 40)
    found = statistics.paired_difference(first, second)
    assert found["p"] == pytest.approx(stats.wilcoxon(second - first, zero_method="pratt").pvalue)
    assert found["low"] > 0 and statistics.verdict(found) == "higher"
    assert statistics.verdict(statistics.paired_difference(second, first)) == "lower"


def test_no_difference():
    same = np.linspace(0, 1, 9)
    found = statistics.paired_difference(same, same)
    assert found["p"] is None and found["mean"] == 0 and statistics.verdict(found) == "none"
    assert statistics.verdict(statistics.paired_difference([0.1], [0.9])) == "none"  # one film shows nothing


def test_holm_is_statsmodels():
    values = [0.01, 0.04, 0.03, 0.005]
    assert statistics.holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    assert statistics.holm([0.04, None, 0.01]) == pytest.approx([0.04, None, 0.02])
    assert statistics.holm([None]) == [None]
