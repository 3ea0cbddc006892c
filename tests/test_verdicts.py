"""The verdicts, and the sentences of the report that go by them."""

import made_up
import numpy as np
import pytest

from labkit import run_results, verdicts


def test_verdicts_on_the_references_own_numbers():
    assert made_up.reached() == {
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
        "interval and p disagree (Hodges–Lehmann estimate 0.0 )), and no difference in the Brier score was found",
        "interval and p disagree (Hodges–Lehmann estimate 0.0 )), and BCE+IoU has the lower (better) Brier score",
    ),
    "infection_brier": (
        {"intervals": {"infection_brier": (-0.01, 0.02)}},
        "is the more confident (mean difference +4.0 , 95 % interval +3.0 to +5.0 , adjusted p = 0.020 ), and BCE+IoU has the "
        "higher (worse) Brier score",
        "adjusted p = 0.020 ), and no difference in the Brier score was found",
    ),
    "lung_asd": (
        {"intervals": {"lung_asd": (1.0, 2.0)}},
        "are 1.50 (BCE) and 1.50 pixels (BCE+IoU) off in the mean (ASD), and no difference was found",
        "On lungs, 9 such films, the outlines are 1.50 (BCE) and 3.00 pixels (BCE+IoU) off in the mean (ASD), "
        "and BCE+IoU is further off",
    ),
    "infection_asd": (
        {"intervals": {"infection_asd": (-1.0, 2.0)}},
        "are 1.50 (BCE) and −4.50 pixels (BCE+IoU) off in the mean (ASD), and BCE+IoU is nearer",
        "On infections, 9 such films, the outlines are 1.50 (BCE) and 2.00 pixels (BCE+IoU) off in the mean (ASD), "
        "and no difference was",
    ),
    "bce_all_zero": (
        {"infection_bce": (0.01, 0.05, 0.1)},
        "That is so here: trained with BCE alone",
        "That is not shown here",
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
def test_turned_numbers_turn_the_verdict_and_the_sentence(worded, name):
    given, before, after = TURNED[name]
    assert made_up.reached(**given)[name] != made_up.reached()[name]
    of_films = ("iou", "image", "lung", "alike", "intervals")
    scored = {run: values for run, values in given.items() if run not in of_films}
    changes = {"verdicts": made_up.reached(**given), "comparisons": made_up.compared(**given.get("intervals", {}))}
    text, turned = worded(), worded(**changes, runs=made_up.runs(**scored))
    assert before in text and after not in text
    assert after in turned and before not in turned


def test_every_verdict_is_turned_by_a_test():
    assert set(TURNED) == set(made_up.reached())


def test_a_small_change_of_confidence_counts_for_nothing():
    higher = {"infection_excess": (0.004, 0.006)}
    assert made_up.reached(excess=(-0.001, 0.004), intervals=higher)["infection_confidence"] == "none"
    assert made_up.reached(excess=(-0.05, 0.055), intervals=higher)["infection_confidence"] == "none"
    assert made_up.reached(excess=(-0.05, 0.01), intervals=higher)["infection_confidence"] == "better"


def test_plateau():
    rise = run_results.late_rise(np.array([0.9] * 6 + [0.1, 0.3, 0.5, 0.7]))  # fifths of two epochs
    assert rise == pytest.approx({"mean": 0.4, "error": (0.02 / 2 + 0.02 / 2) ** 0.5})
    assert made_up.reached(iou=(0.1,) * 6 + (0.7, 0.69, 0.4, 0.41))["plateau"] == "falling"
    # The last two epochs lie apart by more than they lie below the two before.
    assert made_up.reached(iou=(0.1,) * 6 + (0.718, 0.716, 0.726, 0.655))["plateau"] == "unsteady"
    assert made_up.reached(iou=(0.1,) * 6 + (0.6, 0.7, 0.7, 0.6))["plateau"] == "unsteady"
    assert made_up.reached(iou=(0.6,))["plateau"] == made_up.reached(iou=made_up.RISING[:9])["plateau"] == "short"


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
        assert made_up.reached(intervals={"lung_iou": interval})["lung_comparable"] == wanted
    # Nor is anything said to be different where no difference was found.
    disagree = made_up.compared(lung_iou=(0.006, 0.02))
    disagree["lung"]["iou"]["verdict"] = "none"
    assert verdicts.reach(made_up.runs(), made_up.masks(), disagree, None)["lung_comparable"] == "open"
    few = made_up.compared()
    few["lung"]["iou"] |= {"count": 5}
    assert verdicts.reach(made_up.runs(), made_up.masks(), few, None)["lung_comparable"] == "few"


def test_lungs_above_a_limit_are_said_of_all_intervals():
    # Each number is the middle of an interval of ±.005.
    wanted = {(0.953, 0.94): "no", (0.953, 0.95): "open", (0.956, 0.956): "yes"}
    for (bce, bce_iou), said in wanted.items():
        assert made_up.reached(lung_bce=(bce, 0.015), lung_bce_iou=(bce_iou, 0.011))["lung_high"] == said
    runs = made_up.runs()
    runs["lung-bce"]["val"]["intervals"]["iou"]["low"] = None  # one film
    assert verdicts.reach(runs, made_up.masks(), made_up.compared(), None)["lung_high"] == "open"
    runs["lung-bce_iou"]["test"]["intervals"]["iou"]["high"] = 0.94
    assert verdicts.reach(runs, made_up.masks(), made_up.compared(), None)["lung_high"] == "no"


def test_ranks_against_the_mean_are_told(worded):
    compared = made_up.compared()
    before = worded(comparisons=compared).count("interval and p disagree")
    compared["infection"]["iou"]["ranks"] = -1
    assert worded(comparisons=compared).count("interval and p disagree") == before + 1


def test_empty_with_both_losses_is_not_an_escape():
    assert not made_up.reached(infection_bce_iou=(0.01, 0.04, 0.95))["bce_all_zero"]


def test_a_claim_must_hold_on_validation_and_test():
    runs = made_up.runs()
    runs["infection-bce"]["test"] = made_up.scores(0.9, 0.05)
    assert not verdicts.reach(runs, made_up.masks(), made_up.compared(), None)["infection_harder"]


def test_much_harder_goes_by_intervals():
    runs = made_up.runs(infection_bce_iou=(0.8, 0.04, 0))
    assert verdicts.reach(runs, made_up.masks(), made_up.compared(), None)["infection_harder"]
    runs["infection-bce_iou"]["test"]["intervals"]["iou"]["high"] = 0.87  # the lungs' lower end is .9517
    assert not verdicts.reach(runs, made_up.masks(), made_up.compared(), None)["infection_harder"]


def test_what_depends_on_the_seed_is_not_recommended():
    gains = {"lung": {"iou": {"one_sign": True}}, "infection": {"iou": {"one_sign": False}}}
    higher = {"lung_iou": (0.01, 0.02)}  # and infections as in the reference
    assert made_up.reached(intervals=higher)["recommended"] == "lungs and infections"
    assert made_up.reached(intervals=higher, spread={"gains": gains})["recommended"] == "lungs"
