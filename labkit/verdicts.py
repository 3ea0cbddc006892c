"""For each claim of the reference, whether our results bear it out: one rule a claim."""

from labkit import audit, metrics, statistics
from labkit.experiment import RUNS

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


def reach(
    runs: dict[str, dict], films: dict[str, dict], compared: dict[str, dict], spread: dict | None
) -> dict[str, bool | str]:
    """For each claim of the reference, whether these results bear it out, by what results.json has under these names.

    BCE+IoU against BCE: "higher", "lower" or "none", by the difference over the test films (statistics.verdict), and whether
    their IoU is `comparable`: "yes" if the whole interval is that near to 0, "no" if none of it is and there is a difference,
    "few" for too few films, "open" otherwise. `..._confidence`: "worse" where BCE+IoU is further from what its probabilities
    promise, by their excess, "better" where it is nearer, "none" without a difference that matters. `recommended`: the tasks
    where BCE+IoU has the higher overlap, not surely by less than what is comparable, and with every seed.

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

    def recommended(task: str) -> bool:
        every_seed = spread is None or spread["gains"][task]["iou"]["one_sign"]
        return (
            compared[task]["iou"]["verdict"] == "higher" and _comparable(compared[task]["iou"]) != "yes" and every_seed
        )

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
        "recommended": " and ".join(f"{task}s" for task in tasks if recommended(task)),
        # Discussion: the IoU term "is essential to avoid trivial all-zero predictions": without it, but not with it.
        "bce_all_zero": both(
            lambda split: (
                infection["bce"][split]["empty_predictions"]
                > limits["mostly_empty"]
                >= infection["bce_iou"][split]["empty_predictions"]
            )
        ),
        # Abstract: infection "proves substantially harder".
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
    return "no" if difference["verdict"] != "none" and (low > near or high < -near) else "open"


def _plateau(rise: dict[str, float] | None) -> str:
    if rise is None:
        return "short"
    height, matters = rise["mean"], THRESHOLDS["rising_iou"]
    if 2 * rise["error"] > max(abs(height), matters):
        return "unsteady"
    if abs(height) <= matters:
        return "flat"
    return "rising" if height > 0 else "falling"
