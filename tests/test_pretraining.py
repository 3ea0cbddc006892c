import pytest
import torch

from labkit import training
from labkit.errors import LabkitError
from labkit.experiment import load
from labkit.files import read_json
from labkit.hardware import device_of
from labkit.training import fit, load_best


def test_starts_from_the_other_runs_best_weights(smoke):
    lung, run = smoke(epochs=2), smoke("infection-bce", epochs=1, pretrained="lung-bce_iou,epochs=2")
    with pytest.raises(LabkitError, match="pretrained: there is no finished training in runs/.*epochs=2/seed0; train"):
        fit(run)
    fit(lung)
    start = training.Trainee(run, device_of(run)).network.state_dict()
    best, plain = (
        network.state_dict()
        for network in (
            load_best(lung, device_of(run)),
            training.Trainee(smoke("infection-bce"), device_of(run)).network,
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


def test_networks_of_another_form_are_refused(smoke):
    fit(smoke(epochs=1))
    run = smoke("infection-bce", base=4, pretrained="lung-bce_iou,epochs=1")
    with pytest.raises(LabkitError, match="^pretrained: .* of another form; give both runs the same base"):
        fit(run)


@pytest.mark.parametrize("name", ["../lung-bce", "", "a/b", "x\n"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(LabkitError, match="^pretrained: "):
        load("smoke", "lung-bce", pretrained=name)
