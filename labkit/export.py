"""`labkit export`: a run's best network as ONNX, checked against the checkpoint, with a card that says what it is."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labkit import audit, dataset, store
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import written
from labkit.predict import NOTICE, refuse_oracle
from labkit.presets import Preset, load_preset
from labkit.runs import Run
from labkit.scoring import logits_of
from labkit.training import load_best

CHECKED = 32  # test films at most that the two are compared on
TOLERANCE = 1e-4  # of a probability: float32 in another order of sums


class Probabilities(nn.Module):
    """Films float32 (N, 1, H, W) in [0, 1] -> probabilities float32 (N, 1, H, W): what an exported file computes."""

    def __init__(self, network: nn.Module, experiment: Experiment):
        super().__init__()
        self.network, self.experiment = network, experiment

    def forward(self, film: Tensor) -> Tensor:
        return logits_of(self.network, film, film[:, :0], self.experiment).sigmoid()


def export(run: Run, folder: Path, data: str = "") -> dict:
    """Write model.onnx and MODEL_CARD.md into `folder`; returns what the check found.

    Both are run in float32 on up to CHECKED test films: `films`, `largest_difference` of a probability, and
    `mask_agreement`, the share of pixels in which the two masks agree. `data`: where the films are, if not where the run
    had them. Raises LabkitError if the run is not scored, or if a probability differs by more than TOLERANCE.
    """
    run.must_be_scored()
    refuse_oracle(run)
    experiment = run.experiment.model_copy(update={"data": data} if data else {})
    pack = store.load(experiment)
    films = torch.from_numpy(pack.images[pack.rows("Test")[:CHECKED]])[:, None].float() / 255
    network = Probabilities(load_best(experiment, torch.device("cpu")), experiment).eval()
    content = _onnx(network, experiment.size)
    checked = compare(network, content, films)
    if checked["largest_difference"] > TOLERANCE:
        raise LabkitError(
            f"{run.name}: the exported network differs from the checkpoint by {checked['largest_difference']:.1e}; "
            f"at most {TOLERANCE} is rounding; nothing was written"
        )
    with written(folder / "model.onnx") as temporary:
        temporary.write_bytes(content)
    card = model_card(run, pack, store.root_of(experiment), checked)
    with written(folder / "MODEL_CARD.md") as temporary:
        temporary.write_text(card, encoding="utf-8")
    return checked


def _onnx(network: nn.Module, size: int) -> bytes:
    """The network as an ONNX file for any number of films of `size` pixels a side."""
    film = torch.zeros(2, 1, size, size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about a package that is not used
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            network, (film,), dynamo=True, verbose=False, input_names=["film"], output_names=["probability"],
            dynamic_shapes=({0: torch.export.Dim("films")},),
        )  # fmt: skip
    assert program is not None  # torch's hints allow for the exporter before this one
    program.model_proto.metadata_props.add(key="notice", value=NOTICE)
    return program.model_proto.SerializeToString()


def compare(network: nn.Module, content: bytes, films: Tensor) -> dict:
    """An ONNX file against the network on films float32 (N, 1, H, W): see `export`."""
    import onnxruntime  # takes a moment to import: only where it is used

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        wanted = network(films).numpy()
    found = np.concatenate([session.run(None, {"film": film[None].numpy()})[0] for film in films])
    return {
        "films": len(films),
        "largest_difference": float(np.abs(found - wanted).max()),
        "mask_agreement": float(((found > 0.5) == (wanted > 0.5)).mean()),
    }


def model_card(run: Run, pack: store.Pack, root: Path, checked: dict) -> str:
    """What the network is for, what it was trained on, how good it is, and where it must not be used; Markdown.

    It was checked on films of `pack`, which lie at `root`.
    """
    identity, test = run.about["identity"], run.evaluation["test"]
    knobs = identity["knobs"]
    own = pack.about["fingerprint"] == identity["films"]
    origin, limits = _films(root if own else store.root_of(run.experiment), run.experiment.preset)
    named = {"IoU": "iou", "Dice": "dice", "MAE of the probabilities": "mae", "Brier score": "brier"}
    return CARD.format(
        name=run.name,
        task=knobs["task"],
        notice=NOTICE,
        size=knobs["size"],
        parameters=f"{run.evaluation['parameters']:,}",
        origin=origin,
        limits=limits,
        twice=_twice(pack) if own else "whether a picture stands in two of these was not looked at",
        val_films=run.evaluation["val"]["films"],
        test_films=test["films"],
        fingerprint=identity["films"],
        scores="\n".join(f"| {name} | {test[key]:.3f} |" for name, key in named.items()),
        scored=test["films"] - test["left_out"],
        best_epoch=run.evaluation["best_epoch"],
        settings="\n".join(f"| {knob} | {value} |" for knob, value in knobs.items()),
        commit=", ".join(dict.fromkeys(one["commit"] for one in run.about["environments"])),
        whose="the run's own" if own else "not the run's own",
        **checked,
    )


def _twice(pack: store.Pack) -> str:
    """How many test films the network may have seen."""
    count = len(audit.leaked(pack, audit.duplicates(pack)))
    return f"{count or 'none'} of these {'shows' if count < 2 else 'show'} a picture that stands among the others too"


def _films(root: Path, preset: str) -> tuple[str, str]:
    """What the films at `root` are, and what the network's scores on them leave open."""
    if not root.is_dir():
        return (
            "films that were not at hand when this was written",
            "Nothing is known of the films that it was tried on.",
        )
    if dataset.is_phantom(root):
        return "phantom films, which labkit draws and which show no people", "Never tried on the film of a person."
    collection = load_preset(preset).collection
    if collection != Preset.model_fields["collection"].default:
        return f"chest X-rays from {collection}", f"Not tried on other films than those from {collection}."
    return f"chest X-rays from {collection} ({SOURCE})", LIMITS


SOURCE = "A. M. Tahir et al., Computers in Biology and Medicine 139 (2021) 105002, CC BY-SA 4.0"
LIMITS = """One data set of mixed public origin, with burned-in letters and brightness that differ by class; no patient
identifiers, so that one patient may stand in several splits. Not tried on films of other hospitals, on children, on side
views."""


CARD = """# {name}

A residual U-Net that marks the {task} on frontal chest X-rays. **{notice}**

## Use

`model.onnx` takes `film`, float32 (N, 1, {size}, {size}), grey values in [0, 1] with 0 black, and gives `probability`,
float32 of the same shape: how likely each pixel belongs to the {task}. Above .5 is the mask. Films of another shape are
padded with black to a square and shrunk by the mean first. {parameters} parameters.

## Data

Trained on {origin}. {val_films} other films chose the epoch, and {test_films} more test it; {twice}.
Fingerprint of the films: {fingerprint}.

## Scores on test films

IoU and Dice are means over the {scored} whose true mask is not empty, the others over all {test_films}.

| score | value |
|---|---|
{scores}

Epoch {best_epoch} was chosen by validation IoU.

## Check of the export

Against the checkpoint, both in float32, on {films} test films ({whose}): probabilities differ by at most
{largest_difference:.1e}; {mask_agreement:.4%} of the mask's pixels agree.

## Limits

{limits} A probability is not a diagnosis.

## Settings

| knob | value |
|---|---|
{settings}

labkit, commit {commit}. MIT licence.
"""
