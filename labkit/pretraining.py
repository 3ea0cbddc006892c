"""Starting from another run's network: what finds lungs knows edges and ribs, which finding infections needs too."""

from pathlib import Path

from torch import nn

from labkit import checkpoint
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import sha256, shown


def digest(experiment: Experiment) -> dict[str, str]:
    """The SHA-256 of the weights that training starts from, by "pretrained"; empty where it starts from random ones.

    Raises LabkitError where that run's training is not done.
    """
    if experiment.pretrained == "none":
        return {}
    if not (_folder(experiment) / "training.json").is_file():
        raise LabkitError(f"pretrained: there is no finished training in {shown(_folder(experiment))}; train it first")
    return {"pretrained": sha256(_folder(experiment) / "best.pt")}


def start(network: nn.Module, experiment: Experiment) -> None:
    """Give the network all weights of the other run's best network but the head's, which are of another task.

    Does nothing where there is no other run. Raises LabkitError where its network is of another form.
    """
    if experiment.pretrained == "none":
        return
    own, path = network.state_dict(), _folder(experiment) / "best.pt"
    other = checkpoint.load(path, own["head.weight"].device)["network"]
    try:
        network.load_state_dict(other | {name: own[name] for name in ("head.weight", "head.bias")})
    except RuntimeError:
        raise LabkitError(
            f"pretrained: {shown(path)} is a network of another form; give both runs the same base, levels, attention "
            "and lung_input"
        ) from None


def _folder(experiment: Experiment) -> Path:
    """That of the other run: of the same preset and seed."""
    return experiment.folder.parent.parent / experiment.pretrained / experiment.folder.name
