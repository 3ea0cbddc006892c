"""Every knob of every notebook and preset, at its bounds and beyond: a valid experiment, or one line that names the knob."""

import nbformat
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill.cli import _resolve_type
from papermill.translators import PythonTranslator

from labkit import presets
from labkit.errors import LabkitError
from labkit.experiment import Experiment
from labkit.files import ROOT
from labkit.parameters import from_notebook
from labkit.presets import load, load_all

KNOBS = [knob for knob in Experiment.model_fields if knob not in ("preset", "name")]
EXTREMES = [
    0,
    1,
    -1,
    -2,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.0,
    -0.0,
    0.5,
    1.0,
    1e-320,
    1e308,
    float("inf"),
    float("nan"),
]
EXTREMES += [
    "",
    " ",
    "auto",
    "bce",
    "lung",
    "0",
    "1e-3",
    "nan",
    "phantom",
    "../..",
    "/etc/passwd",
    "$(touch x)",
    "'; #",
    "\n",
    "ü",
    "\0",
]
EXTREMES += [True, False, None]
values = st.one_of(st.sampled_from(EXTREMES), st.integers(), st.floats(), st.text(max_size=20), st.booleans())


def one_line(error: LabkitError) -> bool:
    return bool(str(error)) and str(error).isprintable()


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(KNOBS), values)
def test_any_value_of_any_knob(knob, value):
    try:
        run = load("smoke", "lung-bce", **{knob: value})
    except LabkitError as error:
        assert one_line(error) and knob in str(error)
    else:
        # What was accepted is what was asked for, and it stays inside the runs' folder.
        kept = getattr(run, knob)
        # An integer is taken for a float where one is wanted, and is then the nearest one.
        assert kept in (value, float(value) if type(value) is int else value) and isinstance(kept, bool) == isinstance(
            value, bool
        )
        assert run.folder.resolve().is_relative_to(ROOT / "runs")


def bounds(knob: str) -> dict[str, float]:
    """The bounds of a knob: what Experiment's field says of it."""
    rules = Experiment.model_fields[knob].metadata
    return {name: getattr(rule, name) for rule in rules for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}


@pytest.mark.parametrize("knob", [knob for knob in KNOBS if bounds(knob)])
def test_bounds_are_where_the_field_says(knob):
    step = 8 if knob == "size" else 1
    for name, bound in bounds(knob).items():
        inside = {"ge": bound, "gt": bound + step, "le": bound, "lt": bound - step}[name]
        if not (name in ("gt", "lt") and isinstance(Experiment.model_fields[knob].default, float)):
            assert getattr(load("smoke", "lung-bce", **{knob: inside}), knob) == inside
        beyond = {"ge": bound - step, "gt": bound, "le": bound + step, "lt": bound}[name]
        with pytest.raises(LabkitError, match=f"^{knob}: "):
            load("smoke", "lung-bce", **{knob: beyond})


def run_cells(cell: str, given: list[tuple[str, str]]):
    """What `papermill -p knob value ...` does to a notebook, as far as its parameters go, in papermill's own words."""
    injected = PythonTranslator.codify({knob: _resolve_type(text) for knob, text in given})
    namespace = {"In": ["", cell, injected]}
    exec(cell, namespace)
    exec(injected, namespace)
    return from_notebook(namespace)


CELLS = {
    path.stem: next(
        cell.source for cell in nbformat.read(path, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])
    )
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
texts = st.one_of(st.sampled_from([str(value) for value in EXTREMES]), st.integers().map(str), st.text(max_size=20))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(list(CELLS)), st.sampled_from([*KNOBS, "preset", "experiment", "epoch", "Lr"]), texts)
def test_papermills_command_line(notebook, knob, text):
    try:
        found = run_cells(CELLS[notebook], [(knob, text)])
    except LabkitError as error:
        assert one_line(error)
    else:
        runs = found if isinstance(found, list) else [found]
        assert all(run.folder.resolve().is_relative_to(ROOT / "runs") for run in runs)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from([*KNOBS, "name", "preset", "epoch"]), values, max_size=3))
def test_presets_with_any_settings(tmp_path_factory, entries):
    folder = tmp_path_factory.getbasetemp() / "presets"
    folder.mkdir(exist_ok=True)
    content = {"about": "x", "settings": entries, "experiments": {"lung-bce": {"task": "lung", "loss": "bce"}}}
    (folder / "any.yml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "PRESETS", folder)
        try:
            load_all("any")
        except LabkitError as error:
            assert one_line(error) and "any.yml" in str(error)
