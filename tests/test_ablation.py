"""What experiments gain over their base, on made-up scores whose answers are known, and as the report tells it."""

import numpy as np
import pandas as pd
import pytest

from labkit import ablation, audit, statistics, store
from labkit.errors import LabkitError
from labkit.experiment import RUNS
from labkit.presets import load_all

FILMS = 30


def outcome(iou, val=(0.1, 0.2, 0.3), seconds=2.0, parameters=1000):
    """What a run leaves behind: films' IoU in [0, 1], NaN where there is no true mask, and validation IoU by epoch."""
    films = pd.Series(iou, index=pd.MultiIndex.from_product([["COVID-19"], range(FILMS)], names=["class", "name"]))
    cost = {"epoch": seconds, "time": seconds * len(val), "parameters": parameters}
    return {"films": films, "iou": pd.Series(val)} | cost


@pytest.fixture
def compared(monkeypatch):
    """compare() of the smoke preset with more `experiments`, each (knobs, seeds, outcome by seed)."""
    smoke = load_all("smoke")
    base = next(run for run in smoke if run.name == RUNS["infection", "bce_iou"])
    outcomes = {}

    def compare(more, base_outcomes):
        outcomes.update({(base.name, seed): one for seed, one in base_outcomes.items()})
        runs = smoke + [base.model_copy(update={"seed": seed}) for seed in base_outcomes if seed]
        for name, knobs, by_seed in more:
            outcomes.update({(name, seed): one for seed, one in by_seed.items()})
            runs += [base.model_copy(update={"name": name, "seed": seed} | knobs) for seed in by_seed]
        monkeypatch.setattr(ablation, "_outcome", lambda run: outcomes[run.name, run.seed])
        return ablation.compare(runs)

    return compare


def test_gain_by_hand(compared):
    plain = np.linspace(0.2, 0.8, FILMS)
    spread = 0.01 * np.sin(np.arange(FILMS))
    better = outcome(plain + 0.1 + spread, val=(0.3, 0.4, 0.35, 0.5), seconds=3.0, parameters=1500)
    found = compared(
        [
            ("infection-deeper", {"levels": 4}, {0: better}),
            ("infection-ema", {"ema": 0.9}, {0: outcome(plain + spread)}),
        ],
        {0: outcome(plain)},
    )
    deeper, ema = found["rows"]
    assert deeper["iou"] == pytest.approx((plain + 0.1 + spread).mean())
    assert deeper["gain"]["mean"] == pytest.approx(0.1 + spread.mean())
    assert deeper["gains"] == pytest.approx([deeper["gain"]["mean"]])
    assert 0.09 < deeper["gain"]["low"] < deeper["gain"]["mean"] < deeper["gain"]["high"] < 0.11
    assert deeper["time"] == pytest.approx(4 * 3 / (3 * 2)) and deeper["parameters"] == 1.5
    assert deeper["val_gain"] == pytest.approx(0.5 - 0.3)
    # The base's 6 seconds are two epochs of 3: the best of these is .4.
    assert deeper["val_gain_in_time"] == pytest.approx(0.4 - 0.3)
    assert deeper["gain"]["p_adjusted"] == pytest.approx(2 * deeper["gain"]["p"])  # Holm, of two tests
    assert (deeper["gain"]["verdict"], ema["gain"]["verdict"]) == ("higher", "none")
    assert deeper["changes"] == ["levels 4"]
    table = ablation.table(found).set_index("experiment")
    assert table.at["infection-deeper", "gain_mean"] == deeper["gain"]["mean"] and len(table) == 3


def test_bases_come_first_with_all_their_seeds(compared):
    plain = np.linspace(0.2, 0.8, FILMS)
    lungs = {"task": "lung"}
    more = [(RUNS["lung", "bce_iou"], lungs, {0: outcome(plain + 0.2)}), ("x", {}, {0: outcome(plain)})]
    found = compared(more, {0: outcome(plain), 4: outcome(plain + 0.1)})
    (base,) = found["bases"]  # no row needs that of the lungs
    assert (base["name"], base["seeds"]) == ("infection-bce_iou", [0, 4]) and found["rows"][0]["seeds"] == [0]
    assert base["ious"] == pytest.approx([0.5, 0.6]) and base["iou"] == pytest.approx(0.55)
    first, second = ablation.table(found).to_dict("records")
    assert (first["experiment"], first["changes"], first["test_iou_by_seed"]) == (
        base["name"],
        "the base",
        "0.5000; 0.6000",
    )
    assert np.isnan(first["gain_mean"]) and second["gain_mean"] == 0


def test_the_same_time_is_time_for_all_epochs(compared):
    """10 epochs of .235 s take as long as 10 epochs of .235 s, though a quotient in floating point may say 9.99..."""
    assert 0.235 * 10 / 0.235 < 10
    plain = np.linspace(0.2, 0.8, FILMS)
    old, new = (outcome(plain, val=(*[0.1] * 9, best), seconds=0.235) for best in (0.3, 0.5))
    (row,) = compared([("infection-x", {}, {0: new})], {0: old})["rows"]
    assert row["val_gain_in_time"] == pytest.approx(row["val_gain"]) == pytest.approx(0.2)


def test_films_without_a_true_mask_do_not_count(compared):
    plain = np.linspace(0.2, 0.8, FILMS)
    plain[3] = np.nan
    (row,) = compared([("infection-x", {}, {0: outcome(plain + 0.1)})], {0: outcome(plain)})["rows"]
    assert row["gain"]["count"] == FILMS - 1 and row["gain"]["mean"] == pytest.approx(0.1)
    assert row["iou"] == pytest.approx(np.nanmean(plain) + 0.1)


def test_a_title_tells_the_lung_task(compared):
    alike, lungs = outcome(np.linspace(0.2, 0.8, FILMS)), {"task": "lung"}
    more = [("wider", lungs, {0: alike}), ("lung-wider", lungs, {0: alike}), ("deeper", {}, {0: alike})]
    rows = compared([*more, (RUNS["lung", "bce_iou"], lungs, {0: alike})], {0: alike})["rows"]
    assert [row["title"] for row in rows] == ["wider (on lungs)", "lung-wider (on lungs)", "deeper"]


def test_other_films_are_no_comparison(compared):
    plain = outcome(np.linspace(0.2, 0.8, FILMS))
    other = plain | {"films": plain["films"].iloc[1:]}
    with pytest.raises(LabkitError, match="infection-x: is scored on other test films than infection-bce_iou"):
        compared([("infection-x", {}, {0: other})], {0: plain})


def test_no_verdict_where_mean_and_ranks_disagree(compared):
    plain = np.linspace(0.2, 0.8, FILMS)
    change = np.linspace(-0.012, -0.010, FILMS)  # a little worse for most films,
    change[:4] = 0.15, 0.16, 0.18, 0.20  # and much better for a few
    (row,) = compared([("infection-x", {}, {0: outcome(plain + change)})], {0: outcome(plain)})["rows"]
    gain = row["gain"]
    assert (
        gain["mean"] > 0 > np.median(change)
        and gain["p_adjusted"] < statistics.ALPHA
        and gain["low"] < 0 < gain["high"]
    )
    assert gain["verdict"] == "none"


def test_seeds_are_averaged_film_by_film_and_paired(compared):
    plain = np.linspace(0.2, 0.8, FILMS)
    by_seed = {0: outcome(plain + 0.2), 5: outcome(plain - 0.3), 7: outcome(plain + 9)}  # the base has no seed 7
    (row,) = compared([("infection-x", {"loss": "dice"}, by_seed)], {0: outcome(plain), 5: outcome(plain - 0.1)})[
        "rows"
    ]
    assert row["seeds"] == [0, 5] and row["gains"] == pytest.approx([0.2, -0.2])
    assert row["gain"]["mean"] == pytest.approx(0, abs=1e-12) and row["gain"]["verdict"] == "none"
    assert row["changes"] == ["loss dice"]


def test_films_are_paired_by_name_not_by_place(compared):
    plain = outcome(np.linspace(0.2, 0.8, FILMS))
    turned = plain | {"films": plain["films"][::-1]}
    (row,) = compared([("infection-x", {}, {0: turned})], {0: plain})["rows"]
    assert row["gain"]["mean"] == row["gain"]["low"] == row["gain"]["high"] == 0 and row["gain"]["p"] is None


def test_presets_of_the_four_runs_alone_have_no_ablation():
    assert ablation.compare(load_all("smoke")) is None


def test_test_films_that_a_run_has_learnt_from_where_others_start_from_it(compared, monkeypatch):
    asked = []

    def shared(pack, other):
        asked.append((pack, other))
        return ["Normal/b.png", "COVID-19/a.png"]

    monkeypatch.setattr(audit, "shared", shared)
    monkeypatch.setattr(store, "load", lambda run: run.task)
    alike = outcome(np.linspace(0.2, 0.8, FILMS))
    assert compared([("x", {"tta": 2}, {0: alike})], {0: alike})["seen"] is None and not asked
    started = [(name, {"pretrained": "lung-bce"}, {0: alike}) for name in ("y", "z")]
    assert compared(started, {0: alike})["seen"] == ["COVID-19/a.png", "Normal/b.png"]
    assert asked == [("infection", "lung")]  # once, however many runs there are


def test_what_is_changed_is_told():
    base = next(run for run in load_all("smoke") if run.name == RUNS["infection", "bce_iou"])
    told = ablation.changes(
        base, base.model_copy(update={"lung_input": True, "name": "other", "seed": 3, "threads": 1})
    )
    assert told == ["lung_input", "lungs true (an oracle)"]
    told = ablation.changes(base, base.model_copy(update={"lung_input": True, "lungs": "lung-bce", "epochs": 7}))
    assert told == ["lung_input", "epochs 7", "lungs lung-bce"]


def test_section_on_what_switches_gain(worded):
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
            "ious": [0.5 for _ in seeds],
            "gain": gain,
            "gains": [mean + 0.02 * seed for seed in seeds],
        } | costs

    base = {"name": "infection-bce_iou", "title": "infection-bce_iou", "task": "infection", "seeds": [0, 1, 2]}
    base |= {"iou": 0.45, "ious": [0.44, 0.45, 0.46]}

    def switches(rows: list[dict], seen: list[str] | None = None, **options) -> str:
        return worded(**options, ablation={"alpha": 0.05, "bases": [base], "seen": seen, "rows": rows})

    better, worse = (
        row("infection-better", 0.05, 0.0001, "higher", (0, 1, 2)),
        row("infection-worse", -0.03, 0.01, "lower"),
    )
    alike = row("lung-alike", 0.001, 0.9, "none")
    text = switches([better, worse, alike])
    assert "bce_iou the base 3 ( 0.440, 0.450, 0.460 ) 0.450 – – – – – –" in text
    assert "told of BCE+IoU on infections alone" in text and "not with every seed" not in text
    assert "Beyond the Reference's Recipe" in text.replace("’", "'")
    assert (
        "A higher IoU by more than chance over films ( p &lt; 0.05, ranks and the whole interval above 0): infection-better "
        "+0.050 ( +0.040 to +0.060 ). A lower one"
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
    mixed = switches([better | {"gains": [0.1, -0.01]}])
    assert "infection-better +0.050 ( +0.040 to +0.060 ), not with every seed" in mixed
    wish = "besides longer training (elastic deformation"
    assert wish in worded() and wish in text and wish not in switches([better | {"changes": ["levels 4"]}])
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
    same = alike | {"gain": alike["gain"] | {"p_adjusted": None}}
    assert "Holm’s method for none, since no film differs; Fig." in switches([same]).replace("'", "’")
    start = "Some experiments start from the weights of another run or ask its network for the lungs, so they owe something to"
    start += " that run’s films and training time too."
    assert start[:40] not in switches([alike])
    assert f"{start} No test film is among the films that such a run was trained or chosen on." in switches([alike], [])
    assert "1 test film is among the films that such a run was trained or chosen on, so on it they have" in switches(
        [alike], ["COVID-19/a.png"]
    )
    assert "Recipe" not in worded().replace("recipe", "")
    # A table too long for a page with other things on it goes to the end.
    for count, place in ((12, "Table IV:"), (40, "Table VII:")):
        text = switches([alike] * count, kinds=("pdf", "html"))
        assert f"{place} Gain in per-image IoU" in text
