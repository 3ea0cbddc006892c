"""An Experiment: every knob of a run, with the reference report's value as its default."""

import html
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from labkit.errors import meant
from labkit.files import ROOT

RUN_NAME = r"^\w[\w,=.+()-]*$"
OTHER_RUNS = ("pretrained", "lungs")  # knobs that name another run; at their defaults they name none
# What figures call each loss. Its function is in labkit.losses, which is not asked here: it would import torch.
LOSSES = {
    "bce": "BCE",
    "bce_iou": "BCE + IoU",
    "dice": "Dice",
    "bce_dice": "BCE + Dice",
    "focal": "Focal",
    "tversky": "Tversky",
}


class Strict(BaseModel):
    """Unknown names and values of the wrong type are errors, and nothing changes after it was checked."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Experiment(Strict):
    """One training of one network on one task. Section numbers are those of the reference report."""

    # What this run is called. These three decide where its results lie: runs/<preset>/<name>/seed<seed>/.
    preset: str
    name: str
    seed: int = Field(0, ge=0, lt=2**31)

    # What is segmented, and from which films (II).
    task: Literal["lung", "infection"]
    controls: bool = Field(
        False, description="trained with control films too"
    )  # infection task: films with no infection
    data: str = Field(
        "phantom", min_length=1, description='folder of COVID-QU-Ex, or "phantom": films labkit draws itself'
    )
    films: int = Field(192, ge=12, le=100_000, description="phantom films for training, each task")
    size: int = Field(256, ge=16, le=2048, description="side of the films (pixels)")

    # The network (III-A).
    base: int = Field(64, ge=1, le=512, description="channels of the first level")
    levels: int = Field(3, ge=2, le=5, description="levels of the network")
    attention: bool = Field(False, description="attention gates on the skips")
    lung_input: bool = Field(False, description="the lung mask is a second input")
    multitask: bool = Field(False, description="the network also learns the lungs, and whether a film is infected")
    film_gate: bool = Field(False, description="films that the network finds not infected get an empty mask")
    pretrained: str = Field(
        "none", pattern=RUN_NAME, description="run of the preset whose weights training starts from"
    )

    # The loss (III-B).
    loss: str  # one of LOSSES
    alpha: float = Field(0.5, ge=0, le=1, description="weight of BCE in BCE+IoU")  # and in BCE+Dice

    # Augmentation (III-C): the probability of each, and how far it goes.
    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    rotate: float = Field(0.5, ge=0, le=1, description="probability of a rotation")
    degrees: float = Field(15.0, ge=0, le=180, description="largest rotation (degrees)")
    brighten: float = Field(0.5, ge=0, le=1, description="probability of a change of brightness")
    brightness: float = Field(0.2, ge=0, le=1, description="largest change of brightness (share)")
    elastic: float = Field(0.0, ge=0, le=1, description="probability of an elastic deformation")
    zoom: float = Field(0.0, ge=0, le=1, description="probability of another size and place")
    intensity: float = Field(0.0, ge=0, le=1, description="probability of other contrast, gamma and noise")

    # Training (III-D).
    epochs: int = Field(10, ge=1, description="epochs")
    batch: int = Field(16, ge=1, description="films in a batch")
    lr: float = Field(1e-4, gt=0, allow_inf_nan=False, description="learning rate")
    weight_decay: float = Field(1e-5, ge=0, allow_inf_nan=False, description="weight decay")
    patience: int = Field(7, ge=0, description="epochs without a lower validation loss before the rate falls")
    factor: float = Field(0.5, gt=0, lt=1, description="factor by which the rate falls")
    clip: float = Field(1.0, gt=0, allow_inf_nan=False, description="largest norm of the gradient")
    schedule: Literal["plateau", "cosine"] = Field("plateau", description="what lowers the learning rate")
    warmup: int = Field(0, ge=0, description="epochs in which the rate rises, before the cosine")
    stop_after: int = Field(
        0, ge=0, description="epochs without a better validation IoU that end training (0: none do)"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="share that averaged weights keep at a step (0: no averaging)")

    # What the trained network is asked.
    tta: int = Field(
        1, ge=1, le=4, description="views whose mean is taken: the film, its mirror image, and each moved by a pixel"
    )
    lung_prior: bool = Field(False, description="nothing is found outside the lung mask")
    lungs: str = Field(
        "true", pattern=RUN_NAME, description="run of the preset that finds these lungs (true: told, an oracle)"
    )

    # The machine. These change the last digits of a result, never its meaning.
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where it is computed in hardware"
    )
    threads: int = Field(0, ge=0, description="0: one for each core")

    @field_validator("loss")
    @classmethod
    def _known(cls, loss: str) -> str:
        if loss not in LOSSES:
            raise ValueError(f"there is no such loss; there are {', '.join(LOSSES)}")
        return loss

    @model_validator(mode="after")
    def _together(self) -> Self:
        """Knobs that only make sense with each other. The message names the knob, which pydantic cannot know here."""
        smallest = 2**self.levels
        if self.size % smallest or self.size == smallest:
            raise ValueError(
                f"size: must be a multiple of {smallest}, and more than that, since the network halves it at each of "
                f"its {self.levels} levels (got {self.size})"
            )
        for knob in ("lung_input", "lung_prior", "multitask"):
            if getattr(self, knob) and self.task == "lung":
                raise ValueError(f"{knob}: is for the infection task; the lung task would be told its answer")
        if self.controls and self.task == "lung":
            raise ValueError("controls: is for the infection task; every film of the lung task has a lung")
        if self.lungs != "true" and not (self.lung_input or self.lung_prior):
            raise ValueError(f"lungs: needs lung_input or lung_prior, which would use them (got {self.lungs!r})")
        if self.film_gate and not (self.multitask and self.controls):
            raise ValueError("film_gate: needs multitask and controls; without control films every film is infected")
        if self.film_gate and self.tta > 1:
            raise ValueError(
                f"film_gate: needs tta 1, for one view called healthy would outweigh all others (got {self.tta})"
            )
        if self.warmup and (self.schedule != "cosine" or self.warmup >= self.epochs):
            raise ValueError(f"warmup: needs schedule cosine and more epochs than it takes (got {self.warmup})")
        return self

    @property
    def needs_true_lungs(self) -> bool:
        """Whether the network is told where the lungs are: by the data set's own masks, which no other film comes with."""
        return self.lungs == "true" and (self.lung_input or self.lung_prior)

    @property
    def trains_on_true_lungs(self) -> bool:
        """Whether training needs the films' true lung masks, as an input or as a target."""
        return self.multitask or (self.lung_input and not self.uses_lung_run)

    @property
    def uses_lung_run(self) -> bool:
        """Whether a lung run's network, kept beside its own, tells the network where the lungs are."""
        return self.lungs != "true"

    @property
    def needed_runs(self) -> dict[str, str]:
        """The runs of the same preset and seed that it starts from or asks for the lungs, by the knob that names them."""
        return {knob: getattr(self, knob) for knob in OTHER_RUNS if getattr(self, knob) != default(knob)}

    def identifying(self) -> dict:
        """The knobs that tell its results from others', with their values."""
        return {knob: value for knob, value in self.model_dump().items() if knob not in UNNAMED}

    @property
    def folder(self) -> Path:
        """Where everything that this run writes lies."""
        return ROOT / "runs" / self.preset / self.name / f"seed{self.seed}"

    @property
    def label(self) -> str:
        """Its name in progress lines: those of two seeds may come in turns."""
        return self.name + (f"/seed{self.seed}" if self.seed else "")

    def __repr_args__(self) -> list[tuple[str, object]]:
        """What pydantic prints: as many knobs as make this experiment again, those at the report's value left out."""
        return [(knob, value) for knob, value in self if value != default(knob)]

    def _repr_html_(self) -> str:
        """For notebooks: every knob, in bold with the report's value beside it where it differs from that."""
        rows = ""
        for knob, value in self:
            shown, report = html.escape(str(value)), ""
            if value != default(knob) and not type(self).model_fields[knob].is_required():
                shown, report = f"<b>{shown}</b>", html.escape(str(default(knob)))
            rows += f'<tr><th scope="row">{knob}</th><td>{shown}</td><td>{report}</td></tr>'
        head = "".join(f'<th scope="col">{title}</th>' for title in ("knob", "value", "report, where it differs"))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


# The four runs of the reference. A preset that makes a report has them all, under these names.
RUNS = {(task, loss): f"{task}-{loss}" for task in ("lung", "infection") for loss in ("bce", "bce_iou")}
# These say where a run's films are and what computes it. They do not name a run: other films replace its results.
UNNAMED = ("data", "device", "threads")


def default(knob: str):
    """A knob's value in the reference report; pydantic's PydanticUndefined for a knob that must be given, None for no knob."""
    field = Experiment.model_fields.get(knob)
    return field.default if field else None


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first of pydantic's complaints as one line that names the knob."""
    first = error.errors(include_url=False)[0]
    knob = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(model.model_fields)
        return f"{knob}: there is no such knob{meant(knob, known)}; there are {', '.join(known)}"
    if first["type"] == "missing":
        return f"{knob}: is missing"
    message = first["msg"].removeprefix("Value error, ")
    if not knob:  # a rule between knobs: its message names one
        return message
    # YAML reads 1e-3 as text, and 1.0e-3 as a number.
    told = "; write it with a point, as 1.0e-3" if re.fullmatch(r"-?[0-9]+[eE][-+]?[0-9]+", str(first["input"])) else ""
    return f"{knob}: {message[0].lower()}{message[1:]} (got {first['input']!r}{told})"
