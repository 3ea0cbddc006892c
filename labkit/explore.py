"""Looking at films and predictions by hand: pictures drawn from plain values, and the sliders that choose the values.

A picture is an output of its cell that is put in again whenever a slider moves; it is not a widget. So it is still there,
as it was drawn first, where no widgets are: in a notebook that papermill ran, and in the page that nbconvert makes of it.
"""

import base64
import html
import io
from collections.abc import Callable
from functools import lru_cache

import ipywidgets
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, DisplayHandle, display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labkit import metrics, store
from labkit.dataset import CLASSES, SPLITS
from labkit.evaluation import evaluate
from labkit.experiment import Experiment
from labkit.hardware import device_of
from labkit.points import Points
from labkit.presets import load_all
from labkit.scoring import probabilities
from labkit.store import Pack
from labkit.style import CLASS_COLOURS, COLUMN, PAGE, PREDICTED_COLOUR, TRUE_COLOUR, badge, dots, outline, show_film
from labkit.training import load_best

SHOWN = 3  # films beside each other in `browse`
THRESHOLDS = np.linspace(0, 1, 101)
ALL = "all"
WIDE = "400px"


class Reader:
    """A trained network and its films. It reads a film once, however often that is shown."""

    def __init__(self, experiment: Experiment):
        """Open a run; it is trained and scored first where it is not, as in 3_evaluate."""
        evaluate(experiment)
        self.experiment, self.device = experiment, device_of(experiment)
        self.pack = store.load(experiment)
        self.network = load_best(experiment, self.device)
        self.films = scored_films(self.pack, experiment)
        self.probability = lru_cache(maxsize=256)(self._read)  # at 256x256 pixels 64 MB

    def _read(self, row: int) -> np.ndarray:
        """Probabilities of the film in the pack's row, float32 (H, W) in [0, 1]."""
        return probabilities(
            self.network, self.pack.images[[row]], self.pack.lungs[[row]], self.experiment, self.device
        )[0]

    def film(self, row: int) -> dict[str, np.ndarray]:
        """`image`, `truth` and `probability` of a film, each (H, W)."""
        return {"image": self.pack.images[row], "truth": self.pack.masks[row], "probability": self.probability(row)}


def open_runs(run: Experiment) -> dict[str, Reader]:
    """Readers of `run`, which comes first, and of the other runs of its preset, by name; what is not trained is trained."""
    # Opened in the preset's order, in which a run stands below those that it starts from.
    runs = {other.folder: other for other in load_all(run.preset, run.data)} | {run.folder: run}
    readers = {folder: Reader(each) for folder, each in runs.items()}
    run_first = sorted(runs.values(), key=lambda each: each.folder != run.folder)
    return {f"{each.name}, seed {each.seed}": readers[each.folder] for each in run_first}


def scored_films(pack: Pack, experiment: Experiment) -> pd.DataFrame:
    """Split, class, control and name of a pack's films, from the lowest `iou` to the highest, with `area`.

    The index is the row in the pack; `area` is the true mask's share of the film, in [0, 1]. Films that were not scored,
    those trained on, have neither; controls have no IoU. Both come last.
    """
    scores = []
    for split in ("Val", "Test"):
        rows = pd.read_csv(experiment.folder / f"{split.lower()}.csv")
        found = pd.DataFrame({"iou": metrics.film_iou(rows), "area": rows["truth"] / rows["pixels"]})
        scores.append(found.set_index(pack.rows(split, controls=True)))
    films = pack.samples[["split", "class", "control", "name"]].join(pd.concat(scores))
    return films.sort_values("iou", kind="stable")


def chosen(films: pd.DataFrame, category: str, split: str, iou: tuple[float, float]) -> pd.DataFrame:
    """The films of a class, a split and a range of IoU; ALL and (0, 1) leave out none, films without an IoU included."""
    kept = films["iou"].between(*iou) | (iou == (0, 1))
    kept &= (films["class"] == category) | (category == ALL)
    return films[kept & ((films["split"] == split) | (split == ALL))]


def scores_at(probability: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """Scores of a film's mask, all in [0, 1]: a pixel is predicted if its probability is over the threshold.

    `iou`, NaN for an empty truth; `hard_mae` of the mask; `mae` of the probabilities, which no threshold changes.
    """
    soft, true = torch.tensor(probability)[None], torch.tensor(truth)[None]
    sure = (soft > threshold).float().logit()  # logits of a network that is sure of its mask
    of_mask, of_probability = (
        metrics.film_scores(pd.DataFrame(metrics.count(logits, true))).iloc[0].to_dict()
        for logits in (sure, soft.logit())
    )
    return {"iou": of_mask["iou"], "hard_mae": of_mask["hard_mae"], "mae": of_probability["mae"]}


def iou_curve(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The film's IoU at each of THRESHOLDS; NaN for an empty truth."""

    def over(values: np.ndarray) -> np.ndarray:
        return values.size - np.searchsorted(np.sort(values, axis=None), THRESHOLDS, side="right")

    if not truth.any():
        return np.full(len(THRESHOLDS), np.nan)
    intersection = over(probability[truth > 0])
    return intersection / (over(probability) + truth.sum() - intersection)


# Pictures: plain Figures, which pyplot does not know, for nothing would ever close all those that a slider makes. A film is
# what Reader.film gives.


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


# Widgets. Each view makes its controls and says what to draw for them.


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
        gain = (_tested(second)["iou"] - _tested(first)["iou"]).sort_values(kind="stable")
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
