"""An Experiment: every knob of a run, with the reference report's value as its default."""

import ast
import difflib
import html
import re
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from labkit.errors import LabkitError
from labkit.files import ROOT, shown

PRESETS = ROOT / "workflow" / "presets"
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
    def starts_from(self) -> dict[str, str]:
        """The runs of the same preset and seed whose weights it needs, by the knob that names them."""
        return {knob: getattr(self, knob) for knob in OTHER_RUNS if getattr(self, knob) != _default(knob)}

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
        return [(knob, value) for knob, value in self if value != _default(knob)]

    def _repr_html_(self) -> str:
        """For notebooks: every knob, in bold with the report's value beside it where it differs from that."""
        rows = ""
        for knob, value in self:
            shown, report = html.escape(str(value)), ""
            if value != _default(knob) and not type(self).model_fields[knob].is_required():
                shown, report = f"<b>{shown}</b>", html.escape(str(_default(knob)))
            rows += f'<tr><th scope="row">{knob}</th><td>{shown}</td><td>{report}</td></tr>'
        head = "".join(f'<th scope="col">{title}</th>' for title in ("knob", "value", "report, where it differs"))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]


class Preset(Strict):
    """A file of workflow/presets: what differs from the report, and which experiments are run."""

    about: str
    collection: str = "COVID-QU-Ex"  # whose films they are, in the report's words
    seeds: Seeds = [0]  # each experiment is run with each, unless it lists seeds of its own
    at_once: int = Field(1, ge=1)  # so many notebooks beside each other on one machine, which share its cores
    settings: dict[str, bool | str | int | float] = {}
    experiments: dict[str, dict[str, bool | str | int | float | Seeds]] = Field(min_length=1)

    def knobs_of(self, experiment: str) -> dict:
        """What the preset says of an experiment's knobs."""
        return self.settings | {knob: value for knob, value in self.experiments[experiment].items() if knob != "seeds"}

    def seeds_of(self, experiment: str) -> list[int]:
        """The seeds that an experiment is run with."""
        return self.experiments[experiment].get("seeds", self.seeds)  # type: ignore[return-value]

    @field_validator("settings", "experiments")
    @classmethod
    def _no_names(cls, entries: dict) -> dict:
        for listed in [entries, *(entry for entry in entries.values() if isinstance(entry, dict))]:
            for knob in ("preset", "name", "seed"):
                if knob in listed:
                    raise ValueError(
                        f"{knob} is not set by a preset's settings or experiments; for seeds: seeds: [0, 1, 2]"
                    )
        return entries

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """What only the whole preset can tell. The messages name the experiment and the knob."""
        named = {knob for name in self.experiments for knob in self.knobs_of(name)}
        if self.at_once > 1 and "threads" in named:
            raise ValueError(
                f"threads: with at_once ({self.at_once}) each has its share of the cores; give one of the two"
            )
        above: list[str] = []
        for name in self.experiments:
            if not re.fullmatch(RUN_NAME, name):
                raise ValueError(
                    f"{name!r}: an experiment's name must begin with a letter or digit and go on with these or _ , = . + - ( )"
                )
            seeds = self.seeds_of(name)
            if not isinstance(seeds, list):
                raise ValueError(f"{name}: seeds: must be a list, such as [0, 1, 2] (got {seeds!r})")
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"{name}: seeds: must differ from each other (got {seeds})")
            for knob in OTHER_RUNS:
                other = self.knobs_of(name).get(knob, _default(knob))
                if other == _default(knob):
                    continue
                if not isinstance(other, str):  # as YAML reads true
                    raise ValueError(f'{name}: {knob}: must be text; put it in quotes: "{str(other).lower()}"')
                if other not in self.experiments:
                    raise ValueError(
                        f"{name}: {knob}: the preset has no experiment {other!r}{meant(other, [*self.experiments])}"
                    )
                if other not in above:
                    raise ValueError(f"{name}: {knob}: {other} must stand above it, for it is trained before")
                if not set(seeds) <= set(self.seeds_of(other)):
                    raise ValueError(f"{name}: {knob}: {other} must be run with the same seeds ({seeds})")
            above.append(name)
        return self


# The four runs of the reference. A preset that makes a report has them all, under these names.
RUNS = {(task, loss): f"{task}-{loss}" for task in ("lung", "infection") for loss in ("bce", "bce_iou")}
# These say where a run's films are and what computes it. They do not name a run: other films replace its results.
UNNAMED = ("data", "device", "threads")
# A notebook's parameter at its neutral value is left to the preset. No knob takes a negative number or an empty text.
NEUTRAL = (-1, "")


class _Once(yaml.SafeLoader):
    """YAML in which a name may stand only once: of two experiments of one name, the first would be gone without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        own = [
            key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"
        ]  # `<<` may bring in what is changed here
        names = [self.construct_object(key) for key in own]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice", own[place].start_mark)
        return super().construct_mapping(node, deep)


def load_preset(name: str) -> Preset:
    """Read workflow/presets/<name>.yml. Raises LabkitError where there is none or it does not hold what a preset may."""
    path = PRESETS / f"{name}.yml"
    known = sorted(file.stem for file in PRESETS.glob("*.yml"))
    if name not in known:
        raise LabkitError(f"preset: there is no {name!r}{meant(name, known)}; there are {', '.join(known)}")
    try:
        return Preset(**yaml.load(path.read_text(encoding="utf-8"), Loader=_Once))
    except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise LabkitError(f"{shown(path)}: not a preset: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise LabkitError(f"{shown(path)}: {_one_line(error, Preset)}") from None


def load(preset: str, experiment: str, seed: int = 0, **given) -> Experiment:
    """The experiment that `preset` lists under the name `experiment`, with the knobs `given` changed.

    What is given wins over the experiment's entry, that over the preset's settings, and those over the report's values.
    A changed knob becomes part of the run's name (`lung-bce,lr=0.01`), so that it never overwrites the preset's own run.
    Raises LabkitError, one line, for a name or value that Experiment does not know.
    """
    content = load_preset(preset)
    if experiment not in content.experiments:
        names = list(content.experiments)
        raise LabkitError(
            f"experiment: preset {preset} has no {experiment!r}{meant(experiment, names)}; it has {', '.join(names)}"
        )
    if "name" in given:
        raise LabkitError("name: is made from the experiment and the knobs you change; it cannot be given")
    listed = content.knobs_of(experiment)
    try:
        Experiment.model_validate(listed | {"preset": preset, "name": experiment})
    except ValidationError as error:
        raise LabkitError(f"{shown(PRESETS / preset)}.yml: {experiment}: {_one_line(error, Experiment)}") from None
    changed = {
        knob: value
        for knob, value in given.items()
        if knob not in UNNAMED and listed.get(knob, _default(knob)) != value
    }
    # In brackets what is a run's name with commas of its own, so that no two experiments have the same.
    told = {knob: f"({value})" if "," in str(value) else value for knob, value in sorted(changed.items())}
    name = ",".join([experiment, *(f"{knob}={value}" for knob, value in told.items())])
    try:
        return Experiment.model_validate(listed | given | {"preset": preset, "name": name, "seed": seed})
    except ValidationError as error:
        raise LabkitError(_one_line(error, Experiment)) from None


def load_all(preset: str, data: str = "") -> list[Experiment]:
    """All the experiments of a preset, in its order, with its first seed, then with its second, and so on."""
    given = {"data": data} if data else {}
    content = load_preset(preset)
    seeds = dict.fromkeys(seed for name in content.experiments for seed in content.seeds_of(name))
    return [
        load(preset, name, seed, **given)
        for seed in seeds
        for name in content.experiments
        if seed in content.seeds_of(name)
    ]


def reference_runs(experiments: list[Experiment]) -> dict[str, Experiment]:
    """The reference's four runs by name, with the first seed that all of them have.

    Raises LabkitError unless all are there and have one in common, and where another experiment has none in common with the
    run with BCE+IoU on its task, which it is held against.
    """
    named = {run.name: run for run in reversed(experiments)}
    path = f"workflow/presets/{experiments[0].preset}.yml"
    for (task, loss), name in RUNS.items():
        run = named.get(name)
        if run is None or (run.task, run.loss, run.controls) != (task, loss, False):
            raise LabkitError(f"{path}: the report needs an experiment named {name} (task {task}, loss {loss}); add it")
    seeds: dict[str, set[int]] = {}
    for run in experiments:
        seeds.setdefault(run.name, set()).add(run.seed)
    shared = set.intersection(*(seeds[name] for name in RUNS.values()))
    if not shared:
        raise LabkitError(
            f"{path}: seeds: {', '.join(RUNS.values())} must have one in common; they are held against each other"
        )
    for run in named.values():
        base = RUNS[run.task, "bce_iou"]
        if not seeds[run.name] & seeds[base]:
            raise LabkitError(
                f"{path}: {run.name}: seeds: must have one in common with {base}, which it is held against"
            )
    first = next(run.seed for run in experiments if run.seed in shared)
    of_first = {run.name: run for run in experiments if run.seed == first}
    return {name: of_first[name] for name in RUNS.values()}


def from_notebook(namespace: dict) -> Experiment | list[Experiment]:
    """The experiment that a notebook's parameters ask for; call it as `from_notebook(globals())`.

    Reads the names that the notebook's cell of parameters, and the cell that papermill injected behind it, assign.
    Reading the cells rather than all globals lets a reader define variables of their own; and papermill, which only warns
    about a parameter that the notebook does not have, is made to stop here, before any work.
    A notebook whose cell does not name one `experiment` gets all those of its preset.
    """
    given = {knob: namespace[knob] for knob in _parameters(namespace)}
    given = {knob: value for knob, value in given.items() if isinstance(value, bool) or value not in NEUTRAL}
    preset = given.pop("preset", "smoke")
    if "experiment" in given:
        return load(preset, **given)
    unknown = set(given) - {"data"}
    if unknown:
        knob = min(unknown)
        raise LabkitError(f"{knob}: not a parameter of this notebook{meant(knob, ['preset', 'data'])}")
    return load_all(preset, **given)


def _parameters(namespace: dict) -> list[str]:
    """Names that the last cell of parameters assigned, and papermill's behind it if there is one.

    Where the kernel keeps no history (nbval), or the cell has lost its first line: all plain variables there are.
    """
    executed = namespace["In"]
    starts = [i for i, cell in enumerate(executed) if cell.startswith("# Parameters of this notebook")]
    if not starts:
        plain = (bool, int, float, str)
        return [name for name, value in namespace.items() if isinstance(value, plain) and not name.startswith("_")]
    injected = [cell for cell in executed[starts[-1] + 1 : starts[-1] + 2] if cell.startswith("# Parameters")]
    return [name for cell in (executed[starts[-1]], *injected) for name in _assigned(cell)]


def _assigned(cell: str) -> list[str]:
    """Names that the source of a cell assigns."""
    targets: list[ast.AST | None] = []
    for node in ast.parse(cell).body:
        targets += getattr(node, "targets", [getattr(node, "target", None)])  # x = 1, or x: int = 1
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _default(knob: str):
    field = Experiment.model_fields.get(knob)
    return field.default if field else None


def meant(word: str, known: list[str]) -> str:
    """' (did you mean ...?)' where a known name is close to the word, otherwise ''."""
    close = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _one_line(error: ValidationError, model: type[BaseModel]) -> str:
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
