"""Pictures of 1_eda: what films and masks are like. One function a figure; none computes a result."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from labkit.dataset import CLASSES, SPLITS
from labkit.store import Pack
from labkit.style import CLASS_COLOURS, COLUMN, PAGE, TASK_COLOURS, outline, show_film


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
        panel.legend_.remove()
    # Of the panel with most classes: control films may be left out.
    handles, labels = max(
        (panel.get_legend_handles_labels() for panel in panels.flat), key=lambda legend: len(legend[1])
    )
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
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
        panel.set_title(title, fontsize=7, parse_math=False)  # names are not ours
    lines = [plt.Line2D([], [], color=TASK_COLOURS[task]) for task in outlines]
    figure.legend(lines, [f"{task} mask" for task in outlines], loc="outside lower center", ncols=2)
    return figure


def film_pairs(pack: Pack, pairs: pd.DataFrame) -> Figure:
    """Films that show the same picture, one above the other: up to six pairs of audit.duplicates, across splits first."""
    figure, panels = plt.subplots(2, 6, figsize=(PAGE, 2.9))
    for panel in panels.flat:
        panel.axis("off")
    pairs = pairs.sort_values("across", ascending=False, kind="stable")
    for column, pair in zip(panels.T, pairs[["first", "second"]].to_numpy()):
        for panel, row in zip(column, pair):
            film = pack.samples.iloc[row]
            show_film(panel, pack.images[row])
            outline(panel, pack.masks[row], TASK_COLOURS[film["task"]])
            panel.set_title(named(film), fontsize=6, parse_math=False)
    return figure


def named(film: pd.Series) -> str:
    """A film's class, split and name: of two classes films may have the same name."""
    return f"{film['class']}\n{film['split']}: {film['name']}"


def mask_area(table: pd.DataFrame) -> Figure:
    """Mask area by task and class, as a share of the film and of the lung; rows of eda.describe for both tasks."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.4), width_ratios=[3, 2])
    order = [f"{task}\n{name}" for task, name in table[["task", "class"]].drop_duplicates().itertuples(index=False)]
    grouped = table.assign(group=table["task"] + "\n" + table["class"], percent=100 * table["image_share"])
    sns.boxplot(
        grouped, x="group", y="percent", order=order, hue="task", palette=TASK_COLOURS, saturation=0.9, ax=left, fliersize=2,
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
        shown = table.assign(**{column: table[column].clip(upper=9 if column == "regions" else 1)})
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
