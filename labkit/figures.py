"""Pictures: one function a figure. Each takes tables and arrays and returns a Figure; results are computed elsewhere."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from labkit import severity
from labkit.style import (
    CLASS_COLOURS,
    COLUMN,
    IOU_COLOUR,
    LOSS_COLOURS,
    PAGE,
    PREDICTED_COLOUR,
    TASK_COLOURS,
    TITLES,
    TRAIN_COLOUR,
    TRUE_COLOUR,
    VAL_COLOUR,
    badge,
    dots,
    lowest_tick,
    outline,
    show_film,
    show_mask,
)


def training_curves(histories: dict[tuple[str, str], pd.DataFrame]) -> Figure:
    """Fig. 1: losses (left axis) and validation IoU (right axis, dashed), a panel for each (task, loss)."""
    columns = min(2, len(histories))
    rows = -(-len(histories) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(PAGE * columns / 2, 2 * rows + 0.3), squeeze=False)
    for letter, panel, ((task, loss), history) in zip("abcdefgh", panels.flat, histories.items()):
        marker = "." if len(history) == 1 else None  # one epoch makes no line
        panel.plot(history["epoch"], history["train_loss"], color=TRAIN_COLOUR, marker=marker, label="training loss")
        panel.plot(history["epoch"], history["val_loss"], color=VAL_COLOUR, marker=marker, label="validation loss")
        title = f"{task.capitalize()} / {TITLES[loss]}"
        panel.set(title=f"({letter}) {title}" if len(histories) > 1 else title, xlabel="Epoch", ylabel="Loss")
        panel.set_ylim(0, None)
        panel.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
        right = panel.twinx()
        right.plot(history["epoch"], history["iou"], "--", color=IOU_COLOUR, label="validation IoU")
        best = history.iloc[history["iou"].argmax()]
        right.plot(best["epoch"], best["iou"], "o", color=IOU_COLOUR, markersize=4, label="best epoch", clip_on=False)
        right.set(ylabel="Validation IoU", ylim=(0, 1))
    (lines, labels), (more_lines, more_labels) = (axes.get_legend_handles_labels() for axes in (panel, right))
    figure.legend(lines + more_lines, labels + more_labels, loc="outside upper center", ncols=4 if columns > 1 else 2)
    return figure


def score_distributions(rows: pd.DataFrame) -> Figure:
    """IoU of single films: how it is distributed, and against the size of the true mask.

    `rows` as scoring.score gives them, with a column `iou`; films without a true mask have none and do not show.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.3))
    rows = rows.dropna(subset="iou").assign(area=100 * rows["truth"] / rows["pixels"])
    classes = {name: colour for name, colour in CLASS_COLOURS.items() if name in set(rows["class"])}
    ends = lowest_tick(rows["iou"]), 1
    bins = np.linspace(*ends, 21)
    sns.histplot(rows, x="iou", bins=bins, hue="class", palette=classes, multiple="stack", ax=left)
    left.axvline(rows["iou"].mean(), color="black", linestyle="--")
    left.set(title="Dashed: the mean over films", xlabel="IoU of a film", ylabel="Films", xlim=ends)
    sns.scatterplot(
        rows, x="area", y="iou", hue="class", palette=classes, ax=right, legend=False, linewidth=0, **dots(len(rows))
    )
    right.set(
        title="Against the size of the true mask", xlabel="True mask (% of film)", ylabel="IoU of a film", ylim=ends
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
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    for row, (image, truth) in enumerate(zip(first["images"], first["masks"])):
        show_film(panels[row, 0], image)
        show_mask(panels[row, 1], truth)
        for panel, sample in zip(panels[row, 2:], samples.values()):
            found = sample["probabilities"][row] > 0.5
            show_mask(panel, found)
            outline(panel, truth, TRUE_COLOUR)
            badge(panel, sample["iou"][row], (truth > 0) | found)
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
        below.minorticks_off()  # in so low a panel they would be one black bar
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
        panel.scatter(percent.mean(axis=1), difference, color=LOSS_COLOURS[loss], linewidth=0, **dots(len(percent)))
        for height, name in zip(severity.limits(percent), ("bias", "limits of agreement", None)):
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

    `rows`: for each task and loss a table with columns iou, truth, pixels; `thirds`: for each, run_results.by_size.
    """
    figure, panels = plt.subplots(1, len(rows), figsize=(COLUMN, 2.2), squeeze=False)
    for letter, panel, (task, losses) in zip("ab", panels.flat, rows.items()):
        for loss, table in losses.items():
            colour = LOSS_COLOURS[loss]
            area = 100 * table["truth"] / table["pixels"]
            panel.scatter(area, table["iou"], color=colour, linewidth=0, **dots(len(losses) * len(table)))
            for number, third in enumerate(thirds[task][loss]):
                ends = [100 * third["smallest"], 100 * third["largest"]]
                panel.plot(ends, [third["mean"]] * 2, color=colour, linewidth=2, label=None if number else TITLES[loss])
        panel.set(title=f"({letter}) {task.capitalize()}", xlabel="True mask (% of film)", xlim=(0, None))
        panel.set_ylim(lowest_tick(pd.concat(losses.values())["iou"]), 1)
    panels[0, 0].set_ylabel("IoU of a film")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    sns.despine(figure)
    return figure


def threshold_curves(curves: dict[str, dict[str, dict]]) -> Figure:
    """Fig. 8: IoU of test films at other thresholds than 0.5, a panel a task.

    `curves`: for each task and loss, calibration.iou_by_threshold.
    """
    figure, panels = plt.subplots(1, len(curves), figsize=(COLUMN, 2.2), squeeze=False)
    for letter, panel, (task, losses) in zip("ab", panels.flat, curves.items()):
        panel.axvline(0.5, color="0.7", linewidth=0.8, linestyle="--")
        for loss, curve in losses.items():
            panel.plot(curve["threshold"], curve["iou"], color=LOSS_COLOURS[loss], label=TITLES[loss])
        panel.set(title=f"({letter}) {task.capitalize()}", xlabel="Threshold", xlim=(0, 1))
    panels[0, 0].set_ylabel("IoU, mean of films")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    sns.despine(figure)
    return figure


def extremes(runs: dict[tuple[str, str], dict]) -> Figure:
    """Fig. 7: the worst, the median and the best test film of each (task, loss), with true and predicted outline.

    `runs` holds what evaluation.evaluate wrote into extremes.npz.
    """
    figure, panels = plt.subplots(len(runs), 3, figsize=(COLUMN, 1.2 * len(runs) + 0.4), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    for row, ((task, loss), films) in zip(panels, runs.items()):
        for number, panel in enumerate(row):
            show_film(panel, films["images"][number])
            truth, found = films["masks"][number], films["probabilities"][number] > 0.5
            outline(panel, truth, TRUE_COLOUR)
            outline(panel, found, PREDICTED_COLOUR)
            badge(panel, films["iou"][number], (truth > 0) | found)
        row[0].text(
            -0.05, 0.5, f"{task.capitalize()}\n{TITLES[loss]}", transform=row[0].transAxes, ha="right", va="center",
            rotation=90, fontsize=7,
        )  # fmt: skip
    for panel, title in zip(panels[0], ("Worst", "Median", "Best")):
        panel.set_title(title, fontsize=7.5)
    lines = [plt.Line2D([], [], color=colour) for colour in (TRUE_COLOUR, PREDICTED_COLOUR)]
    figure.legend(lines, ["true mask", "predicted mask"], loc="outside lower center", ncols=2)
    return figure


def gains(rows: list[dict]) -> Figure:
    """What each experiment gains in IoU over its base, with its interval; `rows` as ablation.compare gives them.

    The largest gain is on top. A filled point: more than chance.
    """
    rows = sorted(rows, key=lambda row: row["gain"]["mean"])
    figure, panel = plt.subplots(figsize=(COLUMN, 0.8 + 0.16 * len(rows)))
    for place, row in enumerate(rows):
        gain, colour = row["gain"], TASK_COLOURS[row["task"]]
        if gain["low"] is not None:
            panel.plot([gain["low"], gain["high"]], [place, place], color=colour, linewidth=1)
        face = "white" if gain["verdict"] == "none" else colour
        panel.plot(gain["mean"], place, "o", color=colour, markerfacecolor=face, markersize=4)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=6)
    panel.set(xlabel="Gain in test IoU over the base", ylim=(-0.7, len(rows) - 0.3))
    panel.grid(axis="y", visible=False)
    return figure
