"""The figures show what they are given."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labkit import audit, eda, eda_figures, figures, store, style


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def packs(smoke):
    return {task: store.load(smoke(f"{task}-bce")) for task in ("lung", "infection")}


def history(best=3):
    iou = [0.1, 0.3, 0.2, 0.4]
    iou[best - 1] = 0.9
    return pd.DataFrame({"epoch": [1, 2, 3, 4], "train_loss": 0.5, "val_loss": 0.4, "iou": iou})


def axes_are_named(figure):
    for panel in figure.axes:
        if panel.axison and panel.get_label() != "<colorbar>":
            assert panel.get_ylabel(), f"{panel.get_title()}: no name on the y axis"
            assert panel.get_xlabel() or panel.get_xticklabels()[0].get_text(), (
                f"{panel.get_title()}: no name on the x axis"
            )


def axes_are_named_below(figure):
    assert all(panel.get_xlabel() for panel in figure.axes) and figure.axes[0].get_ylabel()


def test_training_curves():
    runs = [(task, loss) for task in ("lung", "infection") for loss in ("bce", "bce_iou")]
    figure = figures.training_curves({run: history() for run in runs})
    axes_are_named(figure)
    left, right = figure.axes[:4], figure.axes[4:]
    assert [panel.get_title() for panel in left] == [
        "(a) Lung / BCE",
        "(b) Lung / BCE + IoU",
        "(c) Infection / BCE",
        "(d) Infection / BCE + IoU",
    ]
    for panel in left:
        assert [line.get_linestyle() for line in panel.lines] == ["-", "-"]
        assert panel.get_ylabel() == "Loss"
    for panel in right:
        curve, best = panel.lines
        assert curve.get_linestyle() == "--" and panel.get_ylabel() == "Validation IoU"
        assert best.get_xydata().tolist() == [[3, 0.9]]
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "training loss",
        "validation loss",
        "validation IoU",
        "best epoch",
    ]


def test_predictions():
    images, masks = np.full((3, 16, 16), 90, np.uint8), np.zeros((3, 16, 16), np.uint8)
    masks[:, 4:9, 4:9] = 1
    sample = {"images": images, "masks": masks, "probabilities": masks * 0.8, "iou": np.array([0.25, 0.5, 1.0])}
    figure = figures.predictions({"bce": sample, "bce_iou": sample})
    titles = [panel.get_title() for panel in figure.axes[:4]]
    assert titles == ["Film", "True mask", "BCE", "BCE + IoU"]
    assert len(figure.axes) == 12
    assert [figure.axes[4 * row + 3].texts[0].get_text() for row in range(3)] == ["0.25", "0.50", "1.00"]


def test_a_number_stands_where_it_hides_no_mask():
    panel, mask = plt.subplots()[1], np.zeros((16, 16), bool)
    for corner in ((-1, -1), (-1, 0), (0, -1)):  # rows from the top
        style.badge(panel, 0.5, mask)
        mask[corner] = True
    style.badge(panel, 0.5, mask)
    style.badge(panel, 0.5, ~mask)
    placed = [(text.get_verticalalignment(), text.get_horizontalalignment()) for text in panel.texts]
    assert placed == [("bottom", "right"), ("bottom", "left"), ("top", "right"), ("top", "left"), ("bottom", "right")]
    assert panel.texts[0].get_position() == (0.97, 0.03) and panel.texts[3].get_position() == (0.03, 0.97)


def test_reliability():
    curve = {"share": np.full(15, 1 / 15), "probability": np.linspace(0, 1, 15), "frequency": np.linspace(0, 0.5, 15)}
    two = {"bce": curve, "bce_iou": curve}
    figure = figures.reliability({("lung", "image"): two, ("infection", "image"): two, ("infection", "lung"): two})
    above, below = figure.axes[:3], figure.axes[3:]
    assert [panel.get_title() for panel in above] == [
        "(a) Lung, all pixels",
        "(b) Infection, all pixels",
        "(c) Infection, pixels of the true lung",
    ]
    for panel in above:
        assert len(panel.lines) == 3 and panel.lines[1].get_xydata().tolist()[-1] == [1, 0.5]
    assert all(panel.get_xlabel() == "Predicted probability" for panel in below)
    assert [text.get_text() for text in figure.legends[0].texts] == ["calibrated", "BCE", "BCE + IoU"]


def test_agreement():
    shares = pd.DataFrame({"predicted": [0.2, 0.5, 0.9, np.nan], "true": [0.1, 0.6, 0.6, 0.5]})
    figure = figures.agreement({"bce": shares, "bce_iou": shares[:1]})
    axes_are_named_below(figure)
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, [[15, 10], [55, -10], [75, 30]])
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines]
    spread = 1.96 * np.std([10, -10, 30], ddof=1)
    np.testing.assert_allclose(heights, [10, 10 - spread, 10 + spread])
    assert len(figure.axes[1].lines) == 1  # one film has no spread


def test_a_single_epoch_is_a_point():
    """A line of one point does not show, and 1 is the only epoch to be named."""
    figure = figures.training_curves({("lung", "bce"): history().head(1)})
    panel = figure.axes[0]
    assert [line.get_marker() for line in panel.lines] == [".", "."]
    figure.canvas.draw()
    inside = [place for place in panel.get_xticks() if np.prod(np.subtract(panel.get_xlim(), place)) <= 0]
    assert inside == [1]


def test_dots_of_thousands_of_films_are_small_and_faint():
    few, many = style.dots(40), style.dots(6788)
    assert few["s"] > 4 * many["s"] and few["alpha"] > 2 * many["alpha"] and style.dots(0) == few
    # As large an area as a few hundred: they do not fill the picture.
    assert 6788 * many["s"] * many["alpha"] < 1000 * few["s"] * few["alpha"]


@pytest.mark.parametrize(
    ("ious", "begins"), [([0.97, 0.96, np.nan], 0.9), ([1.0], 0.9), ([0.62, 0.95], 0.6), ([0.0], 0.0)]
)
def test_an_axis_of_ious_begins_below_the_lowest(ious, begins):
    assert style.lowest_tick(pd.Series(ious)) == pytest.approx(begins)
    rows = pd.DataFrame({"class": "Normal", "truth": 4, "pixels": 64, "iou": ious})
    left, right = figures.score_distributions(rows).axes
    assert left.get_xlim() == right.get_ylim() == pytest.approx((begins, 1))


def test_classes_of_which_no_film_is_scored_have_no_place_in_the_legend():
    rows = pd.DataFrame({"class": ["COVID-19", "Normal"], "truth": [4, 0], "pixels": 64, "iou": [0.8, np.nan]})
    left, _ = figures.score_distributions(rows).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["COVID-19"]


def test_iou_by_size():
    rows = pd.DataFrame({"truth": [10, 50], "pixels": 100, "iou": [0.4, 0.8]})
    thirds = [{"smallest": 0.1, "largest": 0.1, "mean": 0.4}, {"smallest": 0.5, "largest": 0.5, "mean": 0.8}]
    figure = figures.iou_by_size(
        {"lung": {"bce": rows}, "infection": {"bce": rows}}, dict.fromkeys(("lung", "infection"), {"bce": thirds})
    )
    axes_are_named_below(figure)
    panel = figure.axes[1]
    assert panel.collections[0].get_offsets().tolist() == [[10, 0.4], [50, 0.8]]
    assert [line.get_ydata()[0] for line in panel.lines] == [0.4, 0.8]


def test_iou_by_threshold():
    curve = {"threshold": np.array([0.25, 0.75]), "iou": np.array([0.4, 0.6])}
    figure = figures.threshold_curves({"lung": {"bce": curve, "bce_iou": curve}, "infection": {"bce": curve}})
    axes_are_named_below(figure)
    assert [line.get_xydata().tolist() for line in figure.axes[1].lines[1:]] == [[[0.25, 0.4], [0.75, 0.6]]]
    assert [text.get_text() for text in figure.legends[0].texts] == ["BCE", "BCE + IoU"]


def test_extremes():
    images, masks = np.full((3, 16, 16), 90, np.uint8), np.zeros((3, 16, 16), np.uint8)
    masks[:, 4:9, 4:9] = 1
    films = {"images": images, "masks": masks, "probabilities": masks * 0.8, "iou": np.array([0.1, 0.5, 0.9])}
    nothing = films | {"probabilities": masks * 0.0}
    figure = figures.extremes({("lung", "bce"): films, ("infection", "bce_iou"): nothing})
    assert [panel.get_title() for panel in figure.axes[:3]] == ["Worst", "Median", "Best"]
    assert [panel.texts[0].get_text() for panel in figure.axes[:3]] == ["0.10", "0.50", "0.90"]
    assert [len(panel.collections) for panel in figure.axes] == [2] * 3 + [1] * 3  # outlines


def test_masks_of_many_parts_are_in_the_last_bar():
    rows = pd.DataFrame({"task": "infection", "regions": [1, 1, 9, 14], "solidity": 1.0, "likeness": 0.5})
    panel = eda_figures.mask_shape(rows).axes[0]
    heights = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == 50 and panel.collections[0].get_paths()[0].vertices[:, 0].max() == 9.5
    assert np.isclose(heights, 50).sum() >= 4  # two bars of half the masks each


def test_exploratory_pictures(packs):
    tables = {task: eda.describe(pack) for task, pack in packs.items()}
    both = pd.concat(tables.values(), ignore_index=True)
    lung, infection = packs["lung"], packs["infection"]
    counts = eda_figures.split_counts({task: pack.samples for task, pack in packs.items()})
    assert sum(bar.get_height() for bar in counts.axes[0].patches) == len(lung.samples)
    for figure in (
        counts,
        eda_figures.mask_area(both),
        eda_figures.mask_shape(both),
        eda_figures.pixel_imbalance({task: table["image_share"].mean() for task, table in tables.items()}),
        figures.score_distributions(
            pd.DataFrame({"class": "Normal", "truth": [4, 6], "pixels": 64, "iou": [0.5, 0.75]}),
        ),
    ):
        axes_are_named(figure)
    heat = eda_figures.mask_heatmaps(eda.mean_masks(lung))
    assert len(heat.axes) == 4 and heat.axes[-1].get_ylabel()
    films = eda_figures.outlined_films(
        infection.images[:6], {"lung": infection.lungs[:6], "infection": infection.masks[:6]}, ["film"] * 6
    )
    assert [len(panel.collections) for panel in films.axes] == [2] * 6 + [0] * 2  # two outlines a film; two places left


def test_film_pairs(packs):
    pairs = pd.DataFrame({"first": [3, 0], "second": [9, 7], "across": [False, True]})
    figure = eda_figures.film_pairs(packs["infection"], pairs)
    samples = packs["infection"].samples
    titles = [panel.get_title() for panel in figure.axes]
    for place, row in (
        (0, 0),
        (6, 7),
        (1, 3),
        (7, 9),
    ):  # the second below the first, and what stands in two splits first
        category, split, name = samples.loc[row, ["class", "split", "name"]]
        assert titles[place] == f"{category}\n{split}: {name}"
    assert sum(bool(title) for title in titles) == 4


def test_measures_of_masks(packs):
    table = eda.describe(packs["infection"])
    pack = packs["infection"]
    assert len(table) == 19 and set(table["class"]) == {"COVID-19"}
    for row in table.index:
        assert table.at[row, "image_share"] == pytest.approx(pack.masks[row].mean())
        inside = (pack.masks[row] & pack.lungs[row]).sum()
        assert table.at[row, "lung_share"] == pytest.approx(inside / pack.lungs[row].sum())
    assert table["solidity"].between(0, 1.0001).all() and table["likeness"].between(0, 1).all()
    # A mask that leaves the lung covers all of it at most.
    everywhere = dataclasses.replace(pack, masks=np.ones_like(pack.masks))
    assert (eda.describe(everywhere)["lung_share"] == 1).all()
    summary = eda.summarise(table, pack, audit.look(pack))
    assert summary["films"]["All"] == {"COVID-19": 19, "All": 19} and summary["controls"] == 20
    # Lungs are more alike than infections.
    assert eda.describe(packs["lung"])["likeness"].median() > table["likeness"].median()


def test_save_writes_print_and_screen(tmp_path):
    style.save(eda_figures.pixel_imbalance({"lung": 0.25, "infection": 0.1}), tmp_path, "bars")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars.pdf", "bars.png", "bars.svg"]
    assert (tmp_path / "bars.pdf").read_bytes().startswith(b"%PDF")
    assert "Pixels inside the mask" in (tmp_path / "bars.svg").read_text()
    assert Image.open(tmp_path / "bars.png").width == style.WIDTH >= 1400


def test_gains_are_sorted_and_chance_is_hollow():
    def row(name, mean, verdict):
        gain = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "verdict": verdict}
        return {"name": name, "title": name, "task": "infection", "gain": gain}

    figure = figures.gains([row("worse", -0.02, "lower"), row("better", 0.05, "higher"), row("alike", 0.0, "none")])
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["worse", "alike", "better"]
    points = [line for line in panel.lines if line.get_marker() == "o"]
    assert [point.get_markerfacecolor() == "white" for point in points] == [False, True, False]
    assert panel.get_xlabel()
