"""The best checkpoint on validation and test films."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from labkit import audit, dataset, eda, metrics, scoring, store, training
from labkit.errors import LabkitError
from labkit.evaluation import SHOWN, evaluate, extreme_films, shown_films, summarise
from labkit.export import Probabilities, export
from labkit.files import checksum
from labkit.hardware import autocast, set_up_device
from labkit.model import network_of
from labkit.predict import Predictor
from labkit.presets import load
from labkit.runs import Run
from labkit.scoring import probabilities, score
from labkit.training import Trainee, fit, load_best, train_epoch


def test_symmetric_film_gets_a_symmetric_mask(smoke):
    """With two views; with one, this untrained network tells left from right."""
    half = np.random.default_rng(0).integers(0, 256, (1, 64, 32), dtype=np.uint8)
    film, differences = np.concatenate([half, half[:, :, ::-1]], axis=2), []
    for tta in (1, 2):
        run = smoke(tta=tta, precision="fp32")
        torch.manual_seed(0)
        found = probabilities(network_of(run), film, None, run, torch.device("cpu"))
        differences.append(np.abs(found - found[:, :, ::-1]).max())
    assert differences[1] < 1e-6 < 1e-3 < differences[0]


def test_the_mean_over_views_is_taken_in_float32(smoke):
    run, device = smoke(tta=3, precision="bf16"), torch.device("cpu")
    network = network_of(run).eval()
    films = torch.rand(2, 1, 64, 64)
    with torch.inference_mode(), autocast(run, device):
        # Channels last, as there: another order in memory rounds otherwise.
        given = scoring.network_input(films, films[:, :0], run)
        views = [scoring._of_view(network, given, view) for view in range(3)]
        found = scoring.logits_of(network, films, films[:, :0], run)
    assert views[0].dtype == torch.bfloat16
    torch.testing.assert_close(found, sum(view.float() for view in views) / 3, rtol=1e-6, atol=1e-6)


def test_scores_with_tta_are_those_of_the_mean(smoke, tmp_path):
    """The same for scores, Fig. 2, validation and an exported file."""
    plain, run = smoke(epochs=1), smoke(epochs=1, tta=4)
    summary, history = evaluate(run), fit(run)
    assert summary["val"]["loss"] == history["val_loss"].item() != fit(plain)["val_loss"].item()
    assert fit(plain)["train_loss"].item() == history["train_loss"].item()
    kept, network = np.load(run.folder / "samples.npz"), load_best(run, torch.device("cpu")).eval()
    films = torch.from_numpy(kept["images"])[:, None].float() / 255
    with torch.inference_mode():
        moved = torch.cat([films[..., -1:], films[..., :-1]], dim=3)
        moved = torch.cat([moved[..., -1:, :], moved[..., :-1, :]], dim=2)
        views = [network(films), network(films.flip(3)).flip(3)]
        for logits in (network(moved), network(moved.flip(3)).flip(3)):
            logits = torch.cat([logits[..., 1:], logits[..., :1]], dim=3)
            views.append(torch.cat([logits[..., 1:, :], logits[..., :1, :]], dim=2))
        mean = (sum(views) / 4).sigmoid()
        torch.testing.assert_close(Probabilities(network, run)(films), mean)
    assert export(Run(run.folder), tmp_path)["largest_difference"] < 1e-4
    np.testing.assert_allclose(kept["probabilities"], mean[:, 0].numpy(), atol=0.02)  # bf16, where there is any


def test_lung_prior_finds_nothing_outside_the_lungs(smoke):
    """And changes nothing inside; the network is trained as without it."""
    plain, run = (smoke("infection-bce", epochs=1, precision="fp32", lung_prior=on) for on in (False, True))
    evaluate(run), evaluate(plain)
    pack, device = store.load(run), set_up_device(run)
    rows = np.arange(6)
    lungs, networks = pack.lungs[rows] == 1, [load_best(one, device) for one in (plain, run)]
    assert all(torch.equal(*pair) for pair in zip(*(network.state_dict().values() for network in networks)))
    without, found = (
        probabilities(network, pack.images[rows], pack.lungs[rows], one, device)
        for network, one in zip(networks, (plain, run))
    )
    assert (found[lungs] == without[lungs]).all() and (found[~lungs] < 1e-8).all() and (without[~lungs] > 1e-8).all()
    scored = [pd.read_csv(one.folder / "test.csv") for one in (plain, run)]
    assert (scored[1]["absolute_error"] < scored[0]["absolute_error"]).all()  # what the scores are made of


def test_lung_input_reaches_the_network(smoke):
    run = smoke("infection-bce", epochs=1, lung_input=True)
    evaluate(run)
    pack, device = store.load(run), set_up_device(run)
    network = load_best(run, device)
    assert network.downs[0].shortcut.in_channels == 2
    films = np.arange(4)
    told, elsewhere = (
        probabilities(network, pack.images[films], lungs, run, device)
        for lungs in (pack.lungs[films], 1 - pack.lungs[films])
    )
    assert not np.allclose(told, elsewhere)
    kept = np.load(run.folder / "samples.npz")
    shown = shown_films(pack)
    assert (kept["probabilities"] == probabilities(network, pack.images[shown], pack.lungs[shown], run, device)).all()


def test_lungs_turn_with_their_film(smoke, monkeypatch):
    """The network is told of the lungs where they are after augmentation."""
    run, seen = smoke("infection-bce", epochs=1, lung_input=True, flip=1.0, rotate=0.0, brighten=0.0), []
    pack, state = store.load(run), Trainee(run, set_up_device(run))
    monkeypatch.setattr(Trainee, "step", lambda self, films, masks: seen.append((films, masks)) or (torch.ones(1),) * 2)
    rows = pack.rows("Train")[:1]
    train_epoch(state, pack, rows, 1)
    films, masks = (part[0].numpy() for part in seen[0])
    assert (masks[1] == pack.lungs[rows[0]][:, ::-1]).all() and (masks[0] == pack.masks[rows[0]][:, ::-1]).all()
    assert (films[0] == pack.images[rows[0]][:, ::-1].astype(np.float32) / 255).all()


def test_runs_told_the_true_lungs_cannot_read_other_films(smoke):
    run = smoke("infection-bce", epochs=1, lung_prior=True)
    evaluate(run)
    for use in (lambda found: Predictor(found), lambda found: export(found, run.folder)):
        with pytest.raises(LabkitError, match="was told the true lungs .lung_input or lung_prior."):
            use(Run(run.folder))
    for knob in ("lung_input", "lung_prior"):
        with pytest.raises(LabkitError, match=f"^{knob}: is for the infection task"):
            smoke("lung-bce", **{knob: True})


def test_rows_then_summary(smoke):
    run = smoke("infection-bce", epochs=2)
    summary = evaluate(run)
    for split, count in (("val", 3), ("test", 4)):
        rows = pd.read_csv(run.folder / f"{split}.csv")
        assert len(rows) == count + 4 and set(rows["split"]) == {split.capitalize()}
        controls = rows[rows["control"]]
        assert len(controls) == 4 and not controls["truth"].any()
        # The summary keeps the control films apart: the headline, MAE and loss are of COVID-19 films.
        told = dict(summary[split])
        assert told.pop("controls") == pytest.approx(metrics.control_scores(controls))
        # calibration.npz has the films of the table, in its order.
        kept = np.load(run.folder / "calibration.npz")
        films = {region: kept[f"{split}_{region}"] for region in ("image", "lung")}
        assert (films["image"][..., 0].sum(1) == rows["pixels"]).all()
        assert (films["lung"][..., 0].sum(1) == rows["lung"]).all()
        own = ~rows["control"].to_numpy()
        assert told == summarise(rows[own], {region: counts[own] for region, counts in films.items()})
        assert told["films"] == count and told["calibration"]["image"]["brier"] == pytest.approx(told["brier"])
        assert told["severity"]["films"] == count
    best = fit(run).loc[summary["best_epoch"] - 1]
    assert summary["val"]["iou"] == best["iou"] and summary["val"]["loss"] == best["val_loss"]


def test_samples_are_the_films_of_the_rows(smoke):
    run = smoke("infection-bce_iou", epochs=2)
    evaluate(run)
    samples, rows = np.load(run.folder / "samples.npz"), pd.read_csv(run.folder / "test.csv").set_index("name")
    pack = store.load(run)
    for place, name in enumerate(samples["names"]):
        predicted = samples["probabilities"][place] > 0.5
        row = rows.loc[name]
        assert predicted.sum() == row["predicted"] and samples["masks"][place].sum() == row["truth"]
        assert samples["iou"][place] == pytest.approx(row["intersection"] / row["union"])
    assert list(samples["names"]) == list(pack.samples.loc[shown_films(pack), "name"])


def test_shown_films_grow_and_depend_on_films_alone(smoke):
    for name in ("lung-bce", "infection-bce"):
        pack = store.load(smoke(name))
        shown = shown_films(pack)
        assert 1 <= len(shown) <= SHOWN and set(shown) <= set(pack.rows("Test"))
        areas = [int(pack.masks[row].sum()) for row in shown]
        assert areas == sorted(areas) and areas[0] > 0


def test_extreme_films():
    film_iou = pd.Series([0.5, np.nan, 0.1, 0.9, 0.3, 0.7], index=[10, 11, 12, 13, 14, 15])
    assert extreme_films(film_iou).tolist() == [12, 10, 13]
    assert extreme_films(film_iou[:1]).tolist() == [10, 10, 10]


def test_lung_runs_have_no_severity(smoke):
    run = smoke("lung-bce", epochs=1)
    summary = evaluate(run)
    assert "severity" not in summary["test"] and list(summary["test"]["calibration"]) == ["image"]
    assert len(np.load(run.folder / "extremes.npz")["images"]) == 3


def test_order_and_batch_do_not_matter(smoke):
    run = smoke("lung-bce", epochs=1, precision="fp32")
    summary = evaluate(run)
    pack, device = store.load(run), set_up_device(run)
    one_by_one = run.model_copy(update={"batch": 1})
    rows = score(load_best(run, device), pack, pack.rows("Test")[::-1], one_by_one, device)
    assert set(rows) <= set(pd.read_csv(run.folder / "test.csv"))
    for key in ("iou", "pooled_iou", "mae", "loss"):
        assert metrics.summarise(rows)[key] == pytest.approx(summary["test"][key], abs=1e-5)


def test_black_masks_are_told(home, tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy")
    for path in dataset.index(copy, "infection").query("split == 'Test' and not control")["mask"]:
        Image.new("L", (256, 256)).save(path)
    with pytest.raises(LabkitError, match="data: no Test film of the infection task has a non-empty mask"):
        evaluate(load("smoke", "infection-bce", data=str(copy), epochs=1))
    for path in dataset.index(copy, "infection")["mask"]:
        Image.new("L", (256, 256)).save(path)
    run = load("smoke", "infection-bce", data=str(copy), epochs=1)
    with pytest.raises(LabkitError, match="data: no validation film has a non-empty mask"):
        evaluate(run)
    pack = store.load(run)
    with pytest.raises(LabkitError, match="data: all masks of the infection task are black"):
        eda.summarise(eda.describe(pack), pack, audit.look(pack))
    for path in dataset.index(copy, "lung")["lung"]:
        Image.new("L", (256, 256)).save(path)
    pack = store.load(load("smoke", "lung-bce", data=str(copy)))
    with pytest.raises(LabkitError, match="data: all masks of the lung task are black"):
        eda.summarise(eda.describe(pack), pack, audit.look(pack))


def test_infections_without_lungs_are_told(home, tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy")
    for path in dataset.index(copy, "infection")["lung"]:
        Image.new("L", (256, 256)).save(path)
    pack = store.load(load("smoke", "infection-bce", data=str(copy)))
    with pytest.raises(LabkitError, match="data: all lung masks of the infection task are black"):
        eda.summarise(eda.describe(pack), pack, audit.look(pack))


def test_not_done_again(smoke):
    run = smoke(epochs=1)
    evaluate(run)
    before = (run.folder / "test.csv").stat().st_mtime_ns
    evaluate(run)
    assert (run.folder / "test.csv").stat().st_mtime_ns == before


def test_other_weights_are_scored_anew(smoke, monkeypatch):
    """Trained again after its weights were removed, a run may end elsewhere: here because nothing is augmented."""
    run = smoke(epochs=1)
    first = evaluate(run)
    for path in run.folder.glob("*.pt"):
        path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(training, "augment", lambda images, masks, *others: (images, masks))
        again = evaluate(run)
    assert again["test"] != first["test"] and again["identity"]["weights"] == checksum(run.folder / "best.pt")
    assert evaluate(run) == again
