"""Looking at films and predictions by hand: each view makes its controls and says what to draw for them.

A picture is an output of its cell that is put in again whenever a slider moves; it is not a widget. So it is still there,
as it was drawn first, where no widgets are: in a notebook that papermill ran, and in the page that nbconvert makes of it.
"""

from collections.abc import Callable

import ipywidgets
import pandas as pd
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure

from labkit.dataset import CLASSES, SPLITS
from labkit.explore_figures import as_html, draw_films, draw_place, draw_threshold
from labkit.points import Points
from labkit.reader import ALL, Reader, chosen, scores_at

SHOWN = 3  # films beside each other in `browse`
WIDE = "400px"


def live(controls: list[ipywidgets.Widget], draw: Callable[[], tuple[Figure | None, str]]) -> None:
    """Show controls and, below them, the figure and caption that `draw` gives; again whenever a control changes.

    Points that are among the controls change when a page shows them; what they choose is a slider's value, which changes too.
    """
    picture = DisplayHandle()
    display(ipywidgets.HBox(controls, layout={"flex_flow": "row wrap"}))
    picture.display(as_html(*draw()))
    for control in controls:
        control.observe(lambda change: picture.update(as_html(*draw())), names=["value", "shown"])


def browse(readers: dict[str, Reader]) -> None:
    """Films by run (and so by task), class, split and IoU, three at a time, from the lowest IoU to the highest."""
    run, film = _run(readers), _film()
    category = ipywidgets.Dropdown(options=[ALL, *CLASSES], description="Class")
    split = ipywidgets.Dropdown(options=[ALL, *SPLITS], value="Test", description="Split")
    iou = ipywidgets.FloatRangeSlider(value=(0, 1), min=0, max=1, step=0.01, description="IoU", layout={"width": WIDE})
    true, predicted = (
        ipywidgets.Checkbox(
            True, description=f"{name} outline", indent=False, layout={"width": "auto", "margin": "2px 16px"}
        )
        for name in ("True", "Predicted")
    )

    def draw():
        reader = run.value
        films = chosen(reader.films, category.value, split.value, iou.value)
        if films.empty:
            return None, "No film has all of that. Choose another class or split, or a wider range of IoU."
        film.max = max(1, len(films) - SHOWN + 1)
        shown = films[film.value - 1 :][:SHOWN]
        titles = [f"{one['split']}: {one['class']}" for _, one in shown.iterrows()]
        figure = draw_films([reader.film(row) for row in shown.index], titles, true.value, predicted.value)
        last = film.value + len(shown) - 1
        return figure, f"Films {film.value} to {last} of {len(films)}: {', '.join(shown['name'])}"

    live([run, category, split, iou, film, true, predicted], draw)


def move_threshold(readers: dict[str, Reader]) -> None:
    """A test film's mask and scores at a threshold that a slider moves; films from the lowest IoU at 0.5 to the highest."""
    run, film = _run(readers), _film()
    threshold = ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.01, description="Threshold", layout={"width": WIDE})

    def draw():
        reader = run.value
        films = _tested(reader)
        film.max = len(films)
        row = films.index[film.value - 1]
        shown = reader.film(row)
        scores = scores_at(shown["probability"], shown["truth"], threshold.value)
        return draw_threshold(shown, threshold.value), (
            f"{films['name'].to_dict()[row]}, threshold {threshold.value:.2f}: IoU {scores['iou']:.3f}, MAE of the mask "
            f"{scores['hard_mae']:.4f}, MAE of the probabilities {scores['mae']:.4f}"
        )

    live([run, film, threshold], draw)


def pick(readers: dict[str, Reader]) -> None:
    """A test film and its place among all of them by size of the true mask and IoU; from the smallest mask to the largest.

    A page shows the places as points to click; without one, they are in the picture.
    """
    run, film, points = _run(readers), _film(), Points(layout={"width": "100%"})
    ipywidgets.link((film, "value"), (points, "chosen"))

    def draw():
        reader = run.value
        films = _tested(reader).sort_values("area", kind="stable")
        film.max = len(films)
        row = films.index[film.value - 1]
        this = films.loc[row].to_dict()
        caption = f"{this['name']}: true mask {100 * this['area']:.1f} % of the film, IoU {this['iou']:.3f}"
        if not points.shown:
            return draw_place(films, row, reader.film(row)), caption
        points.films = films[["area", "iou", "class", "name"]].to_numpy().tolist()
        return draw_films([reader.film(row)], ["This film"]), caption

    live([run, film, points], draw)


def compare(readers: dict[str, Reader]) -> None:
    """Two runs on the same test film; from the film on which the first is better by most to that where the second is."""
    run, film = _run(readers), _film()
    other = _run(readers, "Against")
    other.index = next((n for n, reader in enumerate(readers.values()) if n and _same_films(reader, run.value)), 0)

    def draw():
        first, second = run.value, other.value
        if not _same_films(first, second):
            return None, f"{run.label} and {other.label} have different tasks or films: choose two that share them."
        gain = (_tested(second)["iou"] - _tested(first)["iou"]).dropna().sort_values(kind="stable")
        film.max = len(gain)
        row = gain.index[film.value - 1]
        figure = draw_films([first.film(row), second.film(row)], [run.label, other.label])
        caption = f"{first.films.at[row, 'name']}: IoU of {other.label} minus that of {run.label} {gain[row]:+.3f}"
        return figure, caption

    live([run, other, film], draw)


def _run(readers: dict[str, Reader], description: str = "Run") -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=list(readers.items()), description=description)


def _film() -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(1, min=1, description="Film", layout={"width": WIDE})


def _tested(reader: Reader) -> pd.DataFrame:
    """Test films that have something to find."""
    return reader.films[(reader.films["split"] == "Test") & reader.films["iou"].notna()]


def _same_films(first: Reader, second: Reader) -> bool:
    """Whether a row is the same film, and mask, in both packs; of whatever size."""
    return first.pack.about["fingerprint"] == second.pack.about["fingerprint"]
