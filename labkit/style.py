"""How pictures look, in this one place: sizes, colours, fonts; and the parts that several of them share."""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from labkit.dataset import CLASSES
from labkit.experiment import LOSSES
from labkit.files import written

# Widths are those of an IEEE page, in inches; colours are told apart by colour-blind readers.
COLUMN, PAGE = 3.5, 7.16
WIDTH = 1432  # pixels of a PNG: figures of one column too stay sharp when they are enlarged
COLOURS = sns.color_palette("colorblind")
CLASS_COLOURS = dict(zip(CLASSES, (COLOURS[3], COLOURS[1], COLOURS[0])))
TASK_COLOURS = {"lung": COLOURS[0], "infection": COLOURS[3]}
TRAIN_COLOUR, VAL_COLOUR, IOU_COLOUR = COLOURS[7], COLOURS[0], COLOURS[2]
TRUE_COLOUR, PREDICTED_COLOUR = COLOURS[1], COLOURS[9]  # outlines
TITLES = LOSSES
LOSS_COLOURS = dict(zip(LOSSES, (COLOURS[0], COLOURS[3], *COLOURS[4:7], COLOURS[8])))

sns.set_theme(
    style="ticks",
    palette=COLOURS,
    rc={
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.3,
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "svg.fonttype": "none",  # text stays text, to be searched and read aloud
        "svg.hashsalt": "labkit",  # and the same figure the same file
        "pdf.fonttype": 42,
    },
)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PDF and SVG for print, and as PNG, WIDTH pixels wide, for screens."""
    for ending, metadata in [("pdf", {"CreationDate": None}), ("svg", {"Date": None}), ("png", {})]:
        with written(Path(folder) / f"{name}.{ending}") as temporary:
            figure.savefig(temporary, dpi=WIDTH / figure.get_figwidth(), metadata=metadata)


def dots(count: int) -> dict[str, float]:
    """Size (square points) and opacity of `count` dots: of thousands each is small and lets those below it be seen."""
    share = min(1.0, 200 / max(count, 1)) ** 0.5
    return {"s": 10 * share, "alpha": max(0.6 * share, 0.15)}


def lowest_tick(ious: pd.Series) -> float:
    """Where an axis of IoUs begins: at the tenth below the lowest. Lungs all lie near 1: on an axis from 0 they are a line."""
    return float(np.floor(10 * min(ious.min(), 0.99)) / 10)


def show_film(panel, image: np.ndarray) -> None:
    panel.imshow(image, cmap="gray", vmin=0, vmax=255)
    panel.axis("off")


def show_mask(panel, mask: np.ndarray) -> None:
    panel.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panel.axis("off")


def outline(panel, mask: np.ndarray, colour) -> None:
    """The border of a mask, drawn between its pixels; nothing for an empty one."""
    if mask.any():
        panel.contour(mask, [0.5], colors=[colour], linewidths=0.9)


def badge(panel, iou: float, masks: np.ndarray) -> None:
    """A film's IoU, in the corner where its `masks`, bool (H, W), leave most room; lower right where it is all the same."""
    high, wide = (side // 4 for side in masks.shape)
    rows = {"bottom": slice(-high, None), "top": slice(high)}
    columns = {"right": slice(-wide, None), "left": slice(wide)}
    corners = [(vertical, horizontal) for vertical in rows for horizontal in columns]
    vertical, horizontal = min(corners, key=lambda corner: masks[rows[corner[0]], columns[corner[1]]].sum())
    panel.text(
        {"right": 0.97, "left": 0.03}[horizontal], {"bottom": 0.03, "top": 0.97}[vertical], f"{iou:.2f}",
        transform=panel.transAxes, ha=horizontal, va=vertical, fontsize=6.5, color="white",
        bbox={"facecolor": "black", "edgecolor": "none", "pad": 1, "alpha": 0.7},
    )  # fmt: skip
