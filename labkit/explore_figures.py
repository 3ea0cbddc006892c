"""Pictures of 5_explore; a film is what Reader.film gives.

Plain Figures, which pyplot does not know, for nothing would ever close all those that a slider makes.
"""

import base64
import html
import io

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labkit.reader import THRESHOLDS, iou_curve, scores_at
from labkit.style import CLASS_COLOURS, COLUMN, PAGE, PREDICTED_COLOUR, TRUE_COLOUR, badge, dots, outline, show_film


def draw_films(films: list[dict], titles: list[str], true: bool = True, predicted: bool = True) -> Figure:
    """One film or more beside each other, with the outlines that are asked for and with their IoU."""
    side = min(PAGE / len(films), COLUMN)
    figure = Figure(figsize=(side * len(films), side + 0.4))
    for panel, film, title in zip(figure.subplots(1, len(films), squeeze=False).flat, films, titles):
        _outlined(panel, film, true, predicted)
        panel.set_title(title, parse_math=False)
    _legend(figure, true, predicted)
    return figure


def draw_threshold(film: dict, threshold: float) -> Figure:
    """A film under the mask over `threshold`, its probabilities, and its IoU at every threshold."""
    figure = Figure(figsize=(PAGE, 3.4))
    left, middle, right = figure.subplots(1, 3, width_ratios=[3, 3, 2])
    mask = film["probability"] > threshold
    show_film(left, film["image"])
    tint = np.zeros((*mask.shape, 4))
    tint[mask] = (*PREDICTED_COLOUR, 0.45)
    left.imshow(tint, interpolation="nearest")
    outline(left, film["truth"], TRUE_COLOUR)
    left.set_title("Mask over the film")
    picture = middle.imshow(film["probability"], cmap="cividis", vmin=0, vmax=1)
    outline(middle, film["truth"], TRUE_COLOUR)
    outline(middle, mask, PREDICTED_COLOUR)
    middle.axis("off")
    middle.set_title("Probability")
    figure.colorbar(picture, cax=middle.inset_axes([0, -0.09, 1, 0.05]), orientation="horizontal")
    right.plot(THRESHOLDS, iou_curve(film["probability"], film["truth"]), color="0.3")
    right.axvline(threshold, color=PREDICTED_COLOUR, linewidth=0.9)
    right.plot(threshold, scores_at(film["probability"], film["truth"], threshold)["iou"], "o", color=PREDICTED_COLOUR)
    right.set(title="At every threshold", xlabel="Threshold", ylabel="IoU of this film", xlim=(0, 1), ylim=(0, 1))
    right.set_box_aspect(1.3)
    for panel in (left, middle, right):
        panel.set_anchor("N")
    right.spines[["top", "right"]].set_visible(False)
    _legend(figure)
    return figure


def draw_place(films: pd.DataFrame, row: int, film: dict) -> Figure:
    """Where a film lies among `films` (columns class, area and iou; `row` of its index), and the film itself."""
    figure = Figure(figsize=(PAGE, 3.6))
    left, right = figure.subplots(1, 2)
    for category, colour in CLASS_COLOURS.items():
        some = films[films["class"] == category]
        if len(some):
            left.scatter(100 * some["area"], some["iou"], color=colour, label=category, linewidth=0, **dots(len(films)))
    this = films.loc[row].to_dict()
    left.plot(100 * this["area"], this["iou"], "o", color="black", markersize=10, fillstyle="none")
    left.set(title="All films, this one circled", xlabel="True mask (% of film)", ylabel="IoU of a film", ylim=(0, 1))
    left.legend()
    left.spines[["top", "right"]].set_visible(False)
    _outlined(right, film)
    right.set_title("This film")
    _legend(figure)
    return figure


def _outlined(panel, film: dict, true: bool = True, predicted: bool = True) -> None:
    show_film(panel, film["image"])
    if true:
        outline(panel, film["truth"], TRUE_COLOUR)
    if predicted:
        outline(panel, film["probability"] > 0.5, PREDICTED_COLOUR)
    iou = scores_at(film["probability"], film["truth"])["iou"]
    if not np.isnan(iou):
        badge(panel, iou, (film["truth"] > 0) | (film["probability"] > 0.5))


def _legend(figure: Figure, true: bool = True, predicted: bool = True) -> None:
    names = {"true mask": (true, TRUE_COLOUR), "predicted mask": (predicted, PREDICTED_COLOUR)}
    lines = [Line2D([], [], color=colour, label=name) for name, (shown, colour) in names.items() if shown]
    figure.legend(handles=lines, loc="outside lower center", ncols=2)


def as_html(figure: Figure | None, caption: str) -> HTML:
    """A figure as HTML that needs no other file, with `caption`, a plain text, below it; None: the caption alone."""
    picture = ""
    if figure is not None:
        file = io.BytesIO()
        # Quicker than savefig, which draws twice and compresses well.
        FigureCanvasAgg(figure).print_png(file, pil_kwargs={"compress_level": 1})
        titles = html.escape("; ".join(title for panel in figure.axes if (title := panel.get_title())))
        # Width and height keep the page from jumping while the next picture is decoded.
        width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
        picture = (
            f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" alt="{titles}" '
            f'width="{width}" height="{height}" style="max-width: 100%; height: auto">'
        )
    return HTML(f'<figure style="margin: 0">{picture}<figcaption>{html.escape(caption)}</figcaption></figure>')
