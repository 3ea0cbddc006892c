"""A preset: a file of workflow/presets, which lists experiments and says what differs from the reference."""

import re
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from labkit.errors import LabkitError, meant
from labkit.experiment import OTHER_RUNS, RUN_NAME, RUNS, UNNAMED, Experiment, Strict, default, one_line
from labkit.files import ROOT, shown

PRESETS = ROOT / "workflow" / "presets"
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
                other = self.knobs_of(name).get(knob, default(knob))
                if other == default(knob):
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
    if {"{", "}"} & set(name):
        raise LabkitError(f"{shown(path)}: braces in a name mean something to Snakemake; rename it")
    try:
        return Preset(**yaml.load(path.read_text(encoding="utf-8"), Loader=_Once))
    except ValidationError as error:
        raise LabkitError(f"{shown(path)}: {one_line(error, Preset)}") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:  # the last: bytes that are no text, a date that is none
        raise LabkitError(f"{shown(path)}: not a preset: {' '.join(str(error).split())}") from None


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
        raise LabkitError(f"{shown(PRESETS / preset)}.yml: {experiment}: {one_line(error, Experiment)}") from None
    changed = {
        knob: value for knob, value in given.items() if knob not in UNNAMED and listed.get(knob, default(knob)) != value
    }
    # In brackets what is a run's name with commas of its own, so that no two experiments have the same.
    told = {knob: f"({value})" if "," in str(value) else value for knob, value in sorted(changed.items())}
    name = ",".join([experiment, *(f"{knob}={value}" for knob, value in told.items())])
    try:
        return Experiment.model_validate(listed | given | {"preset": preset, "name": name, "seed": seed})
    except ValidationError as error:
        raise LabkitError(one_line(error, Experiment)) from None


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
