"""Uncertainty: intervals over films, and paired tests of one loss against another on the same films."""

import warnings

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
ALPHA = 0.05  # a p below it, adjusted where there are several tests: the difference is more than chance
RESAMPLES = 2000
ENOUGH = 6  # films that differ: with fewer, a two-sided signed-rank test cannot reach p = 0.05, whatever they say


def mean_interval(values: np.ndarray) -> dict:
    """`mean` of the values, None without any, with its 95 % bootstrap interval, `low` to `high`, and their `count`.

    NaNs are left out.

    BCa: bias-corrected and accelerated (Efron, Journal of the American Statistical Association 82, 1987), by
    scipy.stats.bootstrap with a fixed seed. `low` and `high` are None for fewer than two values; where all values are
    equal but for rounding, both are the mean.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    mean = float(values.mean()) if len(values) else None
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None, "count": len(values)}
    if np.ptp(values) <= 1e-12 * max(1, np.abs(values).max()):
        return {"mean": mean, "low": mean, "high": mean, "count": len(values)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="BCa", batch=100, rng=0
        ).confidence_interval
    return {"mean": mean, "low": float(found.low), "high": float(found.high), "count": len(values)}


def paired_difference(first: np.ndarray, second: np.ndarray) -> dict:
    """How much `second` is above `first`, film by film; pairs with a NaN on either side are left out.

    `first`, `second`: the means over the pairs, None where there is none. `mean`, `low`, `high`, `count`: as mean_interval of
    the differences; `differing`: how many are not 0. `p`: two-sided Wilcoxon signed-rank test (Pratt's rule for zeros), and
    `ranks`: 1 where by these ranks `second` is above, -1 where it is below, 0 for neither. `median`: the estimate that goes
    with that test (Hodges and Lehmann, Annals of Mathematical Statistics 34, 1963). All three are None where no film differs
    or fewer than two are left.
    """
    pairs = np.column_stack([first, second]).astype(float)
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    differences = pairs[:, 1] - pairs[:, 0]
    means = pairs.mean(axis=0).tolist() if len(pairs) else [None, None]
    found = dict(zip(("first", "second"), means)) | mean_interval(differences)
    found["differing"] = int(np.count_nonzero(differences))
    if len(differences) < 2 or not differences.any():
        return found | {"p": None, "ranks": None, "median": None}
    ranks = np.sign(np.sign(differences) @ stats.rankdata(np.abs(differences)))
    p = stats.wilcoxon(differences, zero_method="pratt").pvalue
    return found | {"p": float(p), "ranks": int(ranks), "median": _median_of_means(np.sort(differences))}


def _median_of_means(values: np.ndarray) -> float:
    """The median of the means of all pairs of sorted `values`, each with itself too; exact to rounding.

    By halving the range it lies in: all pairs of 6,788 films would not lie in memory well.
    """
    count = len(values) * (len(values) + 1) // 2

    def at_most(mean: float) -> int:
        """How many of these means are no larger."""
        return (
            np.searchsorted(values, 2 * mean - values, side="right").sum() + np.searchsorted(values, mean, side="right")
        ) // 2

    def smallest(wanted: int) -> float:
        """The mean that so many are no larger than."""
        low, high = values[0], values[-1]
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if at_most(middle) >= wanted else (middle, high)
        return high

    return float(smallest((count + 1) // 2) + smallest(count // 2 + 1)) / 2


def holm(p_values: list[float | None]) -> list[float | None]:
    """p values adjusted for the number of tests made (Holm, Scandinavian Journal of Statistics 6, 1979); None stays."""
    from statsmodels.stats.multitest import multipletests  # half a second to import: only where it is used

    tested = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(tested, method="holm")[1] if tested else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def verdict(difference: dict) -> str:
    """ "higher" or "lower" where the interval of a paired_difference leaves out 0, its p is below ALPHA, and its ranks go that
    way too; "none" otherwise.

    p is `p_adjusted` where that is there. Interval and ranks may disagree: a few films can move a mean while most go the other
    way, however small p. "none" too where fewer than ENOUGH films differ: with many ties scipy's p is an approximation, and
    too small.
    """
    p = difference["p_adjusted"] if "p_adjusted" in difference else difference["p"]
    if difference["differing"] < ENOUGH or p is None or p >= ALPHA:
        return "none"
    if difference["low"] > 0 and difference["ranks"] > 0:
        return "higher"
    return "lower" if difference["high"] < 0 and difference["ranks"] < 0 else "none"
