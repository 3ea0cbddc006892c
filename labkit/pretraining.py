"""Weights of another run: to start from, since what finds lungs knows edges and ribs; or to find the lungs with."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from labkit import checkpoint, store
from labkit.code import HASHES
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import checksum, intact, read_json, shown
from labkit.presets import load, load_preset


def digest(experiment: Experiment) -> dict[str, str]:
    """The checksums of the weights of other runs that training needs, by knob ("pretrained", "lungs"); empty without any.

    Raises LabkitError where such a run's training is not done, is of other knobs, films or code than now, or is of another
    task than what it is to find.
    """
    found = {}
    for knob, name in experiment.needed_runs.items():
        folder = _folder(experiment, name)
        if not intact(folder / "training.json"):
            raise LabkitError(f"{knob}: there is no finished training in {shown(folder)}; train it first")
        made = read_json(folder / "experiment.json")["identity"]
        if not _of_today(made, experiment, name):
            raise LabkitError(
                f"{knob}: {shown(folder)} is of other knobs, films or code than now; train it again first"
            )
        task = made["knobs"]["task"]
        if knob == "lungs" and task != "lung":
            raise LabkitError(f"lungs: {name} finds the {task}; name a run of the lung task")
        found[knob] = checksum(folder / "best.pt")
    return found


def _of_today(made: dict, experiment: Experiment, name: str) -> bool:
    """Whether the identity `made` of the run `name` is what that run would have now, of knobs as far as its preset says."""
    if made["code"] != HASHES["train"]:
        return False
    if name in load_preset(experiment.preset).experiments:
        other = load(experiment.preset, name, experiment.seed, data=experiment.data)
    else:  # its name tells of knobs that were changed by hand
        same = experiment.model_dump(include={"preset", "seed", "data"})
        other = Experiment.model_validate(made["knobs"] | same | {"name": name})
    now = {"knobs": other.identifying(), "films": store.load(other).about["fingerprint"], "code": HASHES["train"]}
    return made == now | digest(other)


def start(network: nn.Module, experiment: Experiment) -> None:
    """Give the network what other runs have learnt, as the knobs `pretrained` and `lungs` say.

    `pretrained`: all weights of that run's best network but the heads', which are of another task. A second input starts
    unheard, with weights of 0. `lungs`: that run's network becomes the `finder`. Does nothing where there is no other run.
    Raises LabkitError where its network is of another form.
    """
    for knob, name in experiment.needed_runs.items():
        own, path = network.state_dict(), _folder(experiment, name) / "best.pt"
        other = checkpoint.load(path, own["head.weight"].device)["network"]
        try:
            if knob == "lungs":
                network.get_submodule("finder").load_state_dict(other)
            else:
                body = {key: value for key, value in other.items() if not key.startswith(NOT_OF_THE_BODY)}
                kept = {key: value for key, value in own.items() if key.startswith(NOT_OF_THE_BODY)}
                network.load_state_dict({key: _fitted(value, own.get(key)) for key, value in body.items()} | kept)
        except RuntimeError:
            raise LabkitError(
                f"{knob}: {shown(path)} is a network of another form; give both runs the same base, levels and attention, and "
                "lung_input only to the one that starts"
            ) from None


NOT_OF_THE_BODY = ("head.", "lung_head.", "film_head.", "finder.")


def _fitted(weights: Tensor, own: Tensor | None) -> Tensor:
    """A convolution's weights (out, in, k, k) with zeros for the input that the own one has more."""
    if own is None or own.dim() < 4 or own.shape[1] != weights.shape[1] + 1:
        return weights
    return F.pad(weights, (0, 0, 0, 0, 0, 1))


def _folder(experiment: Experiment, name: str) -> Path:
    """That of another run of the same preset and seed."""
    return experiment.folder.parent.parent / name / experiment.folder.name
