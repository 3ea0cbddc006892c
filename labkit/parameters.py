"""What a notebook's parameters ask for, set by hand or by papermill."""

import ast

from labkit.errors import LabkitError, meant
from labkit.experiment import Experiment
from labkit.presets import load, load_all

# A notebook's parameter at its neutral value is left to the preset. No knob takes a negative number or an empty text.
NEUTRAL = (-1, "")


def from_notebook(namespace: dict) -> Experiment | list[Experiment]:
    """The experiment that a notebook's parameters ask for; call it as `from_notebook(globals())`.

    Reads the names that the notebook's cell of parameters, and the cell that papermill injected behind it, assign.
    Reading the cells rather than all globals lets a reader define variables of their own; and papermill, which only warns
    about a parameter that the notebook does not have, is made to stop here, before any work.
    A notebook without a parameter `experiment` gets all those of its preset.

    Raises LabkitError for a parameter that the notebook does not have, a preset, experiment or knob that there is not, and a
    value that a knob cannot take.
    """
    own, injected = _parameters(namespace)
    asked = {knob: namespace[knob] for knob in (*own, *injected)}
    given = {knob: value for knob, value in asked.items() if isinstance(value, bool) or value not in NEUTRAL}
    preset = given.pop("preset", "smoke")
    if "experiment" in own:
        return load(preset, given.pop("experiment", ""), **given)
    unknown = set(given) - {"data"}
    if unknown:
        knob = min(unknown)
        raise LabkitError(f"{knob}: not a parameter of this notebook{meant(knob, ['preset', 'data'])}")
    return load_all(preset, **given)


def _parameters(namespace: dict) -> tuple[list[str], list[str]]:
    """Names that the last cell of parameters assigned, and those that papermill's behind it assigned, if there is one.

    Where the kernel keeps no history (nbval), or the cell has lost its first line: all plain variables there are, and none.
    """
    executed = namespace["In"]
    starts = [i for i, cell in enumerate(executed) if cell.startswith("# Parameters of this notebook")]
    if not starts:
        plain = (bool, int, float, str)
        return [name for name, value in namespace.items() if isinstance(value, plain) and not name.startswith("_")], []
    behind = [cell for cell in executed[starts[-1] + 1 : starts[-1] + 2] if cell.startswith("# Parameters")]
    return _assigned(executed[starts[-1]]), [name for cell in behind for name in _assigned(cell)]


def _assigned(cell: str) -> list[str]:
    """Names that the source of a cell assigns."""
    targets: list[ast.AST | None] = []
    for node in ast.parse(cell).body:
        targets += getattr(node, "targets", [getattr(node, "target", None)])  # x = 1, or x: int = 1
    return [target.id for target in targets if isinstance(target, ast.Name)]
