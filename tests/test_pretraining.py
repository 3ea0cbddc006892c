"""Runs that start from another run, or ask it for the lungs."""

import dataclasses

import pytest
import torch

from labkit import code, export, pretraining, runs, store, training
from labkit.errors import LabkitError
from labkit.evaluation import evaluate
from labkit.files import read_json
from labkit.hardware import set_up_device
from labkit.model import parameter_count
from labkit.presets import load
from labkit.scoring import network_input, probabilities
from labkit.training import fit, load_best


def test_starts_from_the_other_runs_best_weights(smoke):
    lung, run = smoke(epochs=2), smoke("infection-bce", epochs=1, pretrained="lung-bce_iou,epochs=2")
    with pytest.raises(LabkitError, match="pretrained: there is no finished training in runs/.*epochs=2/seed0; train"):
        fit(run)
    fit(lung)
    start = training.Trainee(run, set_up_device(run)).network.state_dict()
    best, plain = (
        network.state_dict()
        for network in (
            load_best(lung, set_up_device(run)),
            training.Trainee(smoke("infection-bce"), set_up_device(run)).network,
        )
    )
    for name, weights in start.items():
        assert torch.equal(weights, (plain if name.startswith("head.") else best)[name])
    assert not torch.equal(plain["head.weight"], best["head.weight"])
    assert fit(run)["train_loss"].item() != fit(smoke("infection-bce", epochs=1))["train_loss"].item()


def test_other_weights_to_start_from_train_anew(smoke):
    lung, run = smoke(epochs=1), smoke("infection-bce", epochs=1, pretrained="lung-bce_iou,epochs=1")
    fit(lung)
    first = fit(run)["train_loss"].item()
    fit(lung.model_copy(update={"lr": 0.02}))  # another network under the same name
    assert fit(run)["train_loss"].item() != first
    assert "pretrained" in read_json(run.folder / "experiment.json")["identity"]
    assert "pretrained" not in read_json(lung.folder / "experiment.json")["identity"]


def test_weights_of_other_knobs_films_or_code_are_not_started_from(smoke, monkeypatch):
    lung, run = smoke(), smoke("infection-bce", pretrained="lung-bce_iou")
    fit(lung)
    pretraining.digest(run)
    told = "^pretrained: runs/smoke/lung-bce_iou/seed0 is of other knobs, films or code than now; train it again first"
    films = store.load(lung)
    other = dataclasses.replace(films, about=films.about | {"fingerprint": "of others"})
    for change in (
        lambda patch: patch.setattr(store, "load", lambda run: other),
        lambda patch: patch.setitem(code.HASHES, "train", "of others"),
        lambda patch: patch.setattr(pretraining, "load", lambda *given, **knobs: load(*given, **knobs, lr=0.1)),
    ):
        with monkeypatch.context() as patch:
            change(patch)
            with pytest.raises(LabkitError, match=told):
                pretraining.digest(run)
    (lung.folder / "best.pt").unlink()
    with pytest.raises(LabkitError, match="^pretrained: there is no finished training in"):
        pretraining.digest(run)


def test_runs_named_by_hand_must_be_of_these_films_and_of_today_all_the_way(smoke, monkeypatch):
    first = smoke("lung-bce", epochs=1)
    second = smoke("lung-bce_iou", epochs=1, pretrained="lung-bce,epochs=1")
    third = smoke("infection-bce", epochs=1, pretrained=second.name)
    fit(first)
    fit(second)
    assert pretraining.digest(third)
    films = store.load(second)
    with monkeypatch.context() as patch:
        other = dataclasses.replace(films, about=films.about | {"fingerprint": "of others"})
        patch.setattr(store, "load", lambda run: other)
        with pytest.raises(LabkitError, match="^pretrained: .* is of other knobs, films or code than now"):
            pretraining.digest(third)
    fit(first.model_copy(update={"lr": 0.02}))  # the second started from weights that are gone
    with pytest.raises(LabkitError, match="^pretrained: .*lung-bce_iou,.* is of other knobs, films or code than now"):
        pretraining.digest(third)


def test_networks_of_another_form_are_refused(smoke):
    fit(smoke(epochs=1))
    run = smoke("infection-bce", base=4, pretrained="lung-bce_iou,epochs=1")
    with pytest.raises(LabkitError, match="^pretrained: .* of another form; give both runs the same base"):
        fit(run)


@pytest.mark.parametrize("name", ["../lung-bce", "", "a/b", "x\n"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(LabkitError, match="^pretrained: "):
        load("smoke", "lung-bce", pretrained=name)


def test_second_input_starts_unheard(smoke):
    """A network that is also given the lungs starts as the lung run's, which was not."""
    lung = smoke(epochs=1)
    fit(lung)
    run = smoke("infection-bce", lung_input=True, pretrained="lung-bce_iou,epochs=1")
    network, other = (
        training.Trainee(run, set_up_device(run)).network.eval(),
        load_best(lung, set_up_device(run)).eval(),
    )
    films = torch.rand(2, 1, 64, 64)
    for lungs in (torch.zeros_like(films), torch.ones_like(films)):
        torch.testing.assert_close(network.features(torch.cat([films, lungs], 1))[0], other.features(films)[0])


def test_lungs_are_found_by_the_lung_run(smoke, monkeypatch):
    """In training, on augmented films; in scores; on films that come with no lung mask; and in an exported file."""
    lung, name = smoke(epochs=5), "lung-bce_iou,epochs=5"
    run = smoke("infection-bce", epochs=1, precision="fp32", lung_input=True, lung_prior=True, lungs=name)
    with pytest.raises(LabkitError, match="^lungs: there is no finished training in runs/.*epochs=5/seed0; train"):
        fit(run)
    fit(lung)
    seen, device = [], set_up_device(run)
    finder = load_best(lung, device).eval()
    monkeypatch.setattr(training, "network_input", lambda *given: seen.append(network_input(*given)) or seen[-1])
    summary, network = evaluate(run), load_best(run, device)
    with torch.inference_mode():
        assert torch.equal(seen[0][:, 1:], (finder(seen[0][:, :1]) > 0).float()) and seen[0][:, 1:].any()
    assert all(torch.equal(value, finder.state_dict()[key]) for key, value in network.finder.state_dict().items())
    assert summary["parameters"] == 2 * parameter_count(finder) + 9 * run.base + run.base  # a second input's weights
    pack = store.load(run)
    alone, told = (probabilities(network, pack.images[:3], lungs, run, device) for lungs in (None, pack.lungs[:3]))
    inside = probabilities(finder, pack.images[:3], None, lung.model_copy(update={"precision": "fp32"}), device) > 0.5
    assert (alone == told).all() and (alone[~inside] < 1e-8).all() and (alone[inside] > 1e-8).all()
    checked = export.export(runs.Run(run.folder), run.folder)
    assert checked["largest_difference"] < 1e-4


def test_lungs_are_not_looked_for_while_a_network_with_a_prior_learns(smoke, monkeypatch):
    fit(smoke(epochs=1))
    run = smoke("infection-bce", lung_prior=True, lungs="lung-bce_iou,epochs=1")
    monkeypatch.setattr(training, "lungs_of", None)
    state = training.Trainee(run, set_up_device(run))
    state.step(torch.rand(2, 1, run.size, run.size), torch.ones(2, 1, run.size, run.size))


def test_what_finds_the_lungs_must_be_a_lung_run(smoke):
    fit(smoke("infection-bce", epochs=1))
    run = smoke("infection-bce_iou", lung_input=True, lungs="infection-bce,epochs=1")
    with pytest.raises(LabkitError, match="^lungs: infection-bce,epochs=1 finds the infection; name a run of the lung"):
        fit(run)


def test_starts_from_the_body_of_a_multitask_run(smoke):
    first = smoke("infection-bce", epochs=1, multitask=True)
    fit(first)
    for knobs in ({}, {"multitask": True}):
        run = smoke("infection-bce_iou", pretrained="infection-bce,epochs=1,multitask=True", **knobs)
        start, best = (
            training.Trainee(run, set_up_device(run)).network.state_dict(),
            load_best(first, set_up_device(run)).state_dict(),
        )
        for name, weights in start.items():
            assert torch.equal(weights, best[name]) == ("head." not in name), name
