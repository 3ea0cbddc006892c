"""Pictures: one function a figure. Each takes tables and arrays and returns a Figure; none computes a result."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from labkit.dataset import CLASSES, SPLITS
from labkit.files import written
from labkit.store import Pack

# Style, in this one place. Widths are those of an IEEE page, in inches; colours are told apart by colour-blind readers.
COLUMN, PAGE = 3.5, 7.16
COLOURS = sns.color_palette("colorblind")
CLASS_COLOURS = dict(zip(CLASSES, (COLOURS[3], COLOURS[1], COLOURS[0])))
TASK_COLOURS = {"lung": COLOURS[0], "infection": COLOURS[3]}
TRAIN_COLOUR, VAL_COLOUR, IOU_COLOUR = COLOURS[7], COLOURS[0], COLOURS[2]
LOSS_COLOURS = {"bce": COLOURS[0], "bce_iou": COLOURS[3]}
TITLES = {"bce": "BCE", "bce_iou": "BCE + IoU"}

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
    """Write a figure as PDF and SVG for print, and as PNG (200 dpi) for screens."""
    for ending, metadata in [("pdf", {"CreationDate": None}), ("svg", {"Date": None}), ("png", {})]:
        with written(Path(folder) / f"{name}.{ending}") as temporary:
            figure.savefig(temporary, dpi=200, metadata=metadata)


def split_counts(tables: dict[str, pd.DataFrame]) -> Figure:
    """Films by split and class, a panel a task; `tables` holds a sample table for each task."""
    figure, panels = plt.subplots(1, len(tables), figsize=(PAGE, 2.2))
    for panel, (task, table) in zip(panels, tables.items()):
        classes = [name for name in CLASSES if name in set(table["class"])]
        sns.countplot(
            table,
            x="split",
            order=SPLITS,
            hue="class",
            hue_order=classes,
            palette=CLASS_COLOURS,
            saturation=1,
            ax=panel,
        )
        for bars in panel.containers:
            panel.bar_label(bars, fontsize=7, padding=1)
        panel.set(title=f"{task.capitalize()} task", xlabel="Split", ylabel="Films")
        panel.margins(y=0.12)
        sns.move_legend(panel, "upper right", title=None)
    sns.despine(figure)
    return figure


def outlined_films(images: np.ndarray, outlines: dict[str, np.ndarray], titles: list[str]) -> Figure:
    """Films (N, H, W), four a row, with the outlines of their masks; `outlines` holds masks (N, H, W) for each task."""
    rows = -(-len(images) // 4)
    figure, panels = plt.subplots(rows, 4, figsize=(PAGE, 1.85 * rows + 0.25), squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    for number, (panel, image, title) in enumerate(zip(panels.flat, images, titles)):
        show_film(panel, image)
        for task, masks in outlines.items():
            outline(panel, masks[number], TASK_COLOURS[task])
        panel.set_title(title, fontsize=7)
    lines = [plt.Line2D([], [], color=TASK_COLOURS[task]) for task in outlines]
    figure.legend(lines, [f"{task} mask" for task in outlines], loc="outside lower center", ncols=2)
    return figure


def film_pairs(pack: Pack, pairs: pd.DataFrame) -> Figure:
    """Films that show the same picture, one above the other: up to six pairs, as audit.duplicates gives them."""
    figure, panels = plt.subplots(2, 6, figsize=(PAGE, 2.9))
    for panel in panels.flat:
        panel.axis("off")
    for column, pair in zip(panels.T, pairs.itertuples()):
        for panel, row in zip(column, (pair.first, pair.second)):
            show_film(panel, pack.images[row])
            outline(panel, pack.masks[row], TASK_COLOURS[pack.samples.at[row, "task"]])
            panel.set_title(f"{pack.samples.at[row, 'split']}: {pack.samples.at[row, 'name']}", fontsize=6)
    return figure


def mask_area(table: pd.DataFrame) -> Figure:
    """Mask area by task and class, as a share of the film and of the lung; rows of eda.describe for both tasks."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.4), width_ratios=[3, 2])
    order = [f"{task}\n{name}" for task, name in table[["task", "class"]].drop_duplicates().itertuples(index=False)]
    named = table.assign(group=table["task"] + "\n" + table["class"], percent=100 * table["image_share"])
    sns.boxplot(
        named, x="group", y="percent", order=order, hue="task", palette=TASK_COLOURS, saturation=0.9, ax=left, fliersize=2,
        legend=False, linewidth=0.8,
    )  # fmt: skip
    left.set(title="Share of the film", xlabel=None, ylabel="Mask area (% of film)", ylim=(0, None))
    infection = 100 * table.loc[table["task"] == "infection", "lung_share"]
    sns.histplot(infection, bins=np.arange(0, 101, 5), color=TASK_COLOURS["infection"], ax=right)
    right.axvline(infection.median(), color="black", linestyle="--")
    right.set(
        title=f"Infected share of the lung; median {infection.median():.0f} %",
        xlabel="Infection area (% of lung)", ylabel="COVID-19 films", xlim=(0, 100),
    )  # fmt: skip
    sns.despine(figure)
    return figure


def mask_shape(table: pd.DataFrame) -> Figure:
    """How much mask shapes vary, lung against infection; rows of eda.describe for both tasks."""
    figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.3))
    axes = {
        "regions": "Connected parts of a mask",
        "solidity": "Solidity of the largest part",
        "likeness": "Overlap with the mean mask",
    }
    for panel, (column, name) in zip(panels, axes.items()):
        bins = np.arange(0.5, 10.5) if column == "regions" else np.linspace(0, 1, 26)
        shown = table.assign(**{column: table[column].clip(upper=9.9 if column == "regions" else 1)})
        sns.histplot(
            shown, x=column, hue="task", palette=TASK_COLOURS, bins=bins, stat="percent", common_norm=False,
            element="step", ax=panel, legend=panel is panels[0],
        )  # fmt: skip
        panel.set(xlabel=name, ylabel="Masks of the task (%)")
    panels[0].set_xticks([1, 3, 5, 7, 9], ["1", "3", "5", "7", "≥ 9"])
    sns.move_legend(panels[0], "upper right", title=None)
    sns.despine(figure)
    return figure


def mask_heatmaps(means: dict[str, np.ndarray]) -> Figure:
    """Where masks lie: mean masks (H, W) in [0, 1], a panel each, on one scale."""
    figure, panels = plt.subplots(1, len(means), figsize=(PAGE, 2.1))
    for panel, (title, mean) in zip(panels, means.items()):
        picture = panel.imshow(100 * mean, cmap="cividis", vmin=0, vmax=100)
        panel.set_title(title)
        panel.axis("off")
    figure.colorbar(picture, ax=panels, label="Films whose mask covers\nthe pixel (%)", shrink=0.85, pad=0.01)
    return figure


def pixel_imbalance(shares: dict[str, float]) -> Figure:
    """Share of pixels inside masks, a bar a task; `shares` in [0, 1]."""
    figure, panel = plt.subplots(figsize=(COLUMN, 1.3))
    inside = 100 * np.array(list(shares.values()))
    names = [name.capitalize() for name in shares]
    bars = panel.barh(names, inside, color=[TASK_COLOURS[task] for task in shares])
    panel.barh(names, 100 - inside, left=inside, color="0.88")
    panel.bar_label(bars, [f"{value:.1f} %" for value in inside], padding=3, fontsize=7)
    panel.set(xlabel="Pixels inside the mask (% of all pixels)", ylabel="Task", xlim=(0, 100))
    panel.invert_yaxis()
    sns.despine(figure)
    return figure


def training_curves(histories: dict[tuple[str, str], pd.DataFrame]) -> Figure:
    """Fig. 1: losses (left axis) and validation IoU (right axis, dashed), a panel for each (task, loss)."""
    columns = min(2, len(histories))
    rows = -(-len(histories) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(PAGE * columns / 2, 2 * rows + 0.3), squeeze=False)
    for letter, panel, ((task, loss), history) in zip("abcdefgh", panels.flat, histories.items()):
        panel.plot(history["epoch"], history["train_loss"], color=TRAIN_COLOUR, label="training loss")
        panel.plot(history["epoch"], history["val_loss"], color=VAL_COLOUR, label="validation loss")
        title = f"{task.capitalize()} / {TITLES[loss]}"
        panel.set(title=f"({letter}) {title}" if len(histories) > 1 else title, xlabel="Epoch", ylabel="Loss")
        panel.set_ylim(0, None)
        panel.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        right = panel.twinx()
        right.plot(history["epoch"], history["iou"], "--", color=IOU_COLOUR, label="validation IoU")
        best = history.loc[history["iou"].idxmax()]
        right.plot(best["epoch"], best["iou"], "o", color=IOU_COLOUR, markersize=4, label="best epoch", clip_on=False)
        right.set(ylabel="Validation IoU", ylim=(0, 1))
    (lines, labels), (more_lines, more_labels) = (axes.get_legend_handles_labels() for axes in (panel, right))
    figure.legend(lines + more_lines, labels + more_labels, loc="outside upper center", ncols=4 if columns > 1 else 2)
    return figure


def film_scores(rows: pd.DataFrame) -> Figure:
    """IoU of single films: how it is distributed, and against the size of the true mask.

    `rows` as scoring.score gives them, with a column `iou`; films without a true mask have none and do not show.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.3))
    classes = {name: colour for name, colour in CLASS_COLOURS.items() if name in set(rows["class"])}
    rows = rows.assign(area=100 * rows["truth"] / rows["pixels"])
    sns.histplot(rows, x="iou", bins=np.linspace(0, 1, 21), hue="class", palette=classes, multiple="stack", ax=left)
    left.axvline(rows["iou"].mean(), color="black", linestyle="--")
    left.set(title="Dashed: the mean over films", xlabel="IoU of a film", ylabel="Films", xlim=(0, 1))
    sns.scatterplot(rows, x="area", y="iou", hue="class", palette=classes, s=16, ax=right, legend=False)
    right.set(
        title="Against the size of the true mask", xlabel="True mask (% of film)", ylabel="IoU of a film", ylim=(0, 1)
    )
    sns.move_legend(left, "upper left", title=None)
    sns.despine(figure)
    return figure


def predictions(samples: dict[str, dict]) -> Figure:
    """Fig. 2 and 3: a row a test film; film, true mask, and the prediction of each loss with the true outline over it.

    `samples` holds for each loss what evaluation.evaluate wrote into samples.npz, of the same films.
    """
    first = next(iter(samples.values()))
    columns = 2 + len(samples)
    count = len(first["images"])
    figure, panels = plt.subplots(count, columns, figsize=(COLUMN, 0.92 * count + 0.25), squeeze=False)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    for row, (image, truth) in enumerate(zip(first["images"], first["masks"])):
        show_film(panels[row, 0], image)
        show_mask(panels[row, 1], truth)
        for panel, sample in zip(panels[row, 2:], samples.values()):
            show_mask(panel, sample["probabilities"][row] > 0.5)
            outline(panel, truth, COLOURS[1])
            badge(panel, sample["iou"][row])
    for panel, title in zip(panels[0], ["Film", "True mask", *(TITLES[loss] for loss in samples)]):
        panel.set_title(title, fontsize=7.5)
    return figure


def reliability(curves: dict[tuple[str, str], dict[str, dict]]) -> Figure:
    """Fig. 4: how often pixels of a probability are true, above; and how many pixels have it, below.

    `curves`: for each (task, region), for each loss, a calibration.curve.
    """
    figure, panels = plt.subplots(
        2, len(curves), figsize=(PAGE, 2.9), height_ratios=[3, 1], sharex=True, sharey="row", squeeze=False
    )
    for letter, (above, below), ((task, region), losses) in zip("abc", panels.T, curves.items()):
        above.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle="--", label="calibrated")
        for loss, curve in losses.items():
            style = {"color": LOSS_COLOURS[loss], "label": TITLES[loss]}
            above.plot(curve["probability"], curve["frequency"], marker="o", markersize=2.5, **style)
            centres = (np.arange(len(curve["share"])) + 0.5) / len(curve["share"])
            below.step(centres, 100 * curve["share"], where="mid", **style)
        where = {"image": "all pixels", "lung": "pixels of the true lung"}[region]
        above.set(title=f"({letter}) {task.capitalize()}, {where}", xlim=(0, 1), ylim=(0, 1))
        below.set(xlabel="Predicted probability", yscale="log")
    panels[0, 0].set_ylabel("Share that is true")
    panels[1, 0].set_ylabel("Pixels (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    sns.despine(figure)
    return figure


def agreement(shares: dict[str, pd.DataFrame]) -> Figure:
    """Fig. 5: Bland-Altman plot of the infected share of the lung, a panel a loss; `shares` as severity.shares gives them."""
    figure, panels = plt.subplots(1, len(shares), figsize=(COLUMN, 2.2), sharex=True, sharey=True, squeeze=False)
    for panel, (loss, table) in zip(panels.flat, shares.items()):
        percent = 100 * table.dropna()
        difference = percent["predicted"] - percent["true"]
        panel.scatter(percent.mean(axis=1), difference, s=10, color=LOSS_COLOURS[loss], linewidth=0, alpha=0.8)
        bias, reach = difference.mean(), 1.96 * difference.std()
        for height, name in ((bias, "bias"), (bias - reach, "limits of agreement"), (bias + reach, None)):
            if np.isfinite(height):
                panel.axhline(
                    height, color="black", linewidth=0.9, linestyle="-" if name == "bias" else "--", label=name
                )
        panel.set(title=TITLES[loss], xlim=(0, 100), xlabel="Mean of the two shares\n(% of lung)")
    panels[0, 0].set_ylabel("Predicted − true share\n(percentage points)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    sns.despine(figure)
    return figure


def iou_by_size(rows: dict[str, dict[str, pd.DataFrame]], thirds: dict[str, dict[str, list[dict]]]) -> Figure:
    """Fig. 6: IoU of test films against the size of the true mask; a panel a task, with the mean of each third of sizes.

    `rows`: for each task and loss a table with columns iou, truth, pixels; `thirds`: for each, results.by_size.
    """
    figure, panels = plt.subplots(1, len(rows), figsize=(COLUMN, 2.2), sharey=True, squeeze=False)
    for letter, panel, (task, losses) in zip("ab", panels.flat, rows.items()):
        for loss, table in losses.items():
            colour = LOSS_COLOURS[loss]
            panel.scatter(
                100 * table["truth"] / table["pixels"], table["iou"], s=8, color=colour, linewidth=0, alpha=0.5
            )
            for number, third in enumerate(thirds[task][loss]):
                ends = [100 * third["smallest"], 100 * third["largest"]]
                panel.plot(ends, [third["mean"]] * 2, color=colour, linewidth=2, label=None if number else TITLES[loss])
        panel.set(title=f"({letter}) {task.capitalize()}", xlabel="True mask (% of film)", xlim=(0, None), ylim=(0, 1))
    panels[0, 0].set_ylabel("IoU of a film")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    sns.despine(figure)
    return figure


def extremes(runs: dict[tuple[str, str], dict]) -> Figure:
    """Fig. 7: the worst, the median and the best test film of each (task, loss), with true and predicted outline.

    `runs` holds what evaluation.evaluate wrote into extremes.npz.
    """
    figure, panels = plt.subplots(len(runs), 3, figsize=(COLUMN, 1.2 * len(runs) + 0.4), squeeze=False)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    for row, ((task, loss), films) in zip(panels, runs.items()):
        for number, panel in enumerate(row):
            show_film(panel, films["images"][number])
            outline(panel, films["masks"][number], COLOURS[1])
            outline(panel, films["probabilities"][number] > 0.5, COLOURS[9])
            badge(panel, films["iou"][number])
        row[0].text(
            -0.05, 0.5, f"{task.capitalize()}\n{TITLES[loss]}", transform=row[0].transAxes, ha="right", va="center",
            rotation=90, fontsize=7,
        )  # fmt: skip
    for panel, title in zip(panels[0], ("Worst", "Median", "Best")):
        panel.set_title(title, fontsize=7.5)
    lines = [plt.Line2D([], [], color=colour) for colour in (COLOURS[1], COLOURS[9])]
    figure.legend(lines, ["true mask", "predicted mask"], loc="outside lower center", ncols=2)
    return figure


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


def badge(panel, iou: float) -> None:
    """A film's IoU in its lower right corner."""
    panel.text(
        0.97, 0.03, f"{iou:.2f}", transform=panel.transAxes, ha="right", va="bottom", fontsize=6.5, color="white",
        bbox={"facecolor": "black", "edgecolor": "none", "pad": 1, "alpha": 0.7},
    )  # fmt: skip
