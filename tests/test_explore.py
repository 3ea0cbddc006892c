"""Exploring: the pictures, drawn without a browser; and the notebook's sliders, moved in JupyterLab in a real one."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from labkit import explore, explore_figures, style
from labkit import reader as reading
from labkit.files import ROOT
from labkit.presets import load


@pytest.fixture
def reader(smoke):
    return reading.Reader(smoke(epochs=1))


def test_runs_are_opened_below_those_that_they_start_from(monkeypatch):
    opened = []
    monkeypatch.setattr(reading, "Reader", lambda run: opened.append(run.name))
    shown = list(reading.open_runs(load("best", "infection-best")))
    assert shown[0] == "infection-best, seed 0" and len(shown) == len(set(shown)) == 12
    assert opened.index("lung-bce_iou") < opened.index("infection-best")
    opened.clear()
    shown = list(reading.open_runs(load("best", "infection-best", lr=0.5)))
    assert shown[0] == "infection-best,lr=0.5, seed 0" and len(shown) == 13
    assert opened[-1] == "infection-best,lr=0.5"


def film(probability=0.8):
    truth = np.zeros((16, 16), np.uint8)
    truth[4:9, 4:9] = 1
    return {"image": np.full((16, 16), 90, np.uint8), "truth": truth, "probability": truth * np.float32(probability)}


def outlines(panel):
    """The colours of the outlines in a panel."""
    return [tuple(lines.get_edgecolor()[0][:3]) for lines in panel.collections]


def test_a_film_is_read_once(reader, monkeypatch):
    row = reader.films.index[0]
    first = reader.probability(row)
    monkeypatch.setattr(reading, "probabilities", None)  # to call it again would raise
    assert reader.probability(row) is first and first.shape == (64, 64)
    with pytest.raises(TypeError):
        reader.probability(reader.films.index[1])


def test_films_and_their_scores(reader):
    films, pack = reader.films, reader.pack
    assert sorted(films.index) == list(pack.samples.index)
    assert films["iou"].isna().equals(films["split"] == "Train")
    assert films["iou"].dropna().is_monotonic_increasing and films["iou"].iloc[-1:].isna().all()
    for row, one in films.dropna().iterrows():
        assert one["name"] == pack.samples.at[row, "name"] and one["area"] == pack.masks[row].mean()
        # Alone or in a batch, the network says the same of a film.
        assert reading.scores_at(reader.probability(row), pack.masks[row])["iou"] == pytest.approx(one["iou"], abs=0.01)


def test_chosen():
    films = pd.DataFrame({"class": ["Normal", "COVID-19", "Normal"], "split": ["Val", "Test", "Test"]})
    films["iou"] = [0.2, 0.6, np.nan]
    assert list(reading.chosen(films, reading.ALL, reading.ALL, (0, 1)).index) == [0, 1, 2]
    assert list(reading.chosen(films, "Normal", reading.ALL, (0, 1)).index) == [0, 2]
    assert list(reading.chosen(films, "Normal", "Test", (0, 1)).index) == [2]
    assert list(reading.chosen(films, reading.ALL, reading.ALL, (0, 0.6)).index) == [0, 1]


def test_scores_at_a_threshold():
    probability = np.array([[0.1, 0.4], [0.6, 0.9]], np.float32)
    truth = np.array([[0, 1], [1, 1]], np.uint8)
    scores = reading.scores_at(probability, truth, 0.5)
    assert scores == pytest.approx({"iou": 2 / 3, "hard_mae": 1 / 4, "mae": (0.1 + 0.6 + 0.4 + 0.1) / 4})
    lower = reading.scores_at(probability, truth, 0.3)
    assert lower == pytest.approx({"iou": 1, "hard_mae": 0, "mae": scores["mae"]})
    assert reading.scores_at(probability, truth, 0)["iou"] == 3 / 4  # all are over 0
    assert reading.scores_at(probability, truth, 1)["iou"] == 0
    assert np.isnan(reading.scores_at(probability, 0 * truth)["iou"])


def test_iou_curve_is_the_iou_at_each_threshold():
    random = np.random.default_rng(0)
    probability, truth = random.random((16, 16), np.float32), random.integers(0, 2, (16, 16), np.uint8)
    probability[0, :3] = 0, 0.5, 1  # a pixel at the threshold is not over it
    wanted = [reading.scores_at(probability, truth, threshold)["iou"] for threshold in reading.THRESHOLDS]
    np.testing.assert_allclose(reading.iou_curve(probability, truth), wanted)
    assert np.isnan(reading.iou_curve(probability, 0 * truth)).all()


def test_outlines_on_and_off():
    true, predicted = style.TRUE_COLOUR, style.PREDICTED_COLOUR
    for asked, wanted in [((1, 1), [true, predicted]), ((1, 0), [true]), ((0, 1), [predicted]), ((0, 0), [])]:
        figure = explore_figures.draw_films([film(), film()], ["a", "$b"], *asked)
        assert [panel.get_title() for panel in figure.axes] == ["a", "$b"]
        for panel in figure.axes:
            assert outlines(panel) == wanted and panel.texts[0].get_text() == "1.00"
        assert [line.get_color() for line in figure.legends[0].legend_handles] == wanted
    nothing = film() | {"truth": np.zeros((16, 16), np.uint8)}
    assert not explore_figures.draw_films([nothing], ["control"]).axes[0].texts  # no IoU to show


def test_threshold_picture():
    low, high = (explore_figures.draw_threshold(film(0.8), threshold).axes for threshold in (0.5, 0.9))
    assert [axes[0].images[1].get_array()[..., 3].astype(bool).sum() for axes in (low, high)] == [
        25,
        0,
    ]  # tinted pixels
    assert [axes[2].lines[-1].get_xydata().tolist() for axes in (low, high)] == [[[0.5, 1]], [[0.9, 0]]]


def test_place_picture():
    films = pd.DataFrame({"class": ["Normal", "COVID-19"], "area": [0.1, 0.4], "iou": [0.5, 0.75]}, index=[7, 3])
    left = explore_figures.draw_place(films, 3, film()).axes[0]
    assert left.lines[0].get_xydata().tolist() == [[40, 0.75]]
    points = [point for some in left.collections for point in some.get_offsets().tolist()]
    assert sorted(points) == [[10, 0.5], [40, 0.75]]


def test_names_are_text_not_markup():
    page = explore_figures.as_html(explore_figures.draw_films([film()], ['<b>"x"']), "<script>x</script>").data
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page and 'alt="&lt;b&gt;&quot;x' in page


def test_points_choose_a_film_and_follow_slider_and_run(monkeypatch):
    class Reader:
        def __init__(self, **columns):
            self.films = pd.DataFrame(columns | {"split": "Test", "class": "Normal"})

        def film(self, row):
            return film()

    shown = []
    monkeypatch.setattr(explore, "display", shown.append)
    monkeypatch.setattr(explore, "DisplayHandle", lambda: SimpleNamespace(display=shown.append, update=shown.append))
    readers = {
        "one": Reader(name=["large", "small", "control"], area=[0.4, 0.1, 0.0], iou=[0.5, 0.75, np.nan]),
        "other": Reader(name=["only"], area=[0.2], iou=[0.25]),
    }
    explore.pick(readers)
    run, slider, points = shown[0].children
    # Nothing shows the points yet, so the picture does, and a saved state of the widgets has none that would be beside it.
    assert "All films, this one circled" in shown[-1].data and "small: true" in shown[-1].data and points.films == []
    points.shown = True
    assert 'alt="This film"' in shown[-1].data and len(shown) == 3
    assert points.films == [[0.1, 0.75, "Normal", "small"], [0.4, 0.5, "Normal", "large"]]
    points.chosen = 2
    assert slider.value == 2 and "large: true mask 40.0 %" in shown[-1].data and len(shown) == 4  # drawn once
    slider.value = 1
    assert points.chosen == 1 and "small: true" in shown[-1].data
    slider.value = 2
    run.index = 1  # has fewer films than the chosen number
    assert points.films == [[0.2, 0.25, "Normal", "only"]] and points.chosen == slider.value == 1
    assert "only: true" in shown[-1].data


def test_pairs_are_of_films_that_both_runs_can_be_scored_on(monkeypatch):
    """A small mask may be empty at another size."""
    seen = {}
    monkeypatch.setattr(explore, "live", lambda controls, draw: seen.update(film=controls[-1], draw=draw))
    monkeypatch.setattr(explore, "draw_films", lambda *drawn: None)

    def reader(*iou):
        films = pd.DataFrame({"split": "Test", "name": ["a", "b", "c"], "iou": iou})
        about = SimpleNamespace(about={"fingerprint": "one"})
        return type("Reader", (), {"pack": about, "films": films, "film": lambda self, row: row})()

    explore.compare({"first": reader(0.5, 0.5, 0.5), "second": reader(0.6, 0.4, np.nan)})
    seen["draw"]()
    seen["film"].value = seen["film"].max
    assert seen["film"].max == 2 and seen["draw"]()[1].startswith("a: ") and seen["draw"]()[1].endswith("+0.100")


@contextmanager
def jupyterlab(notebooks, environment):
    """JupyterLab on a folder of notebooks, ended with its kernels afterwards; yields the address that opens 5_explore."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    token, log = secrets.token_hex(), notebooks.parent / "jupyterlab.log"
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={address.split(':')[1]}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={notebooks}"]
    with open(log, "w") as file:
        server = subprocess.Popen(command, env=environment | {"JUPYTER_TOKEN": token}, stdout=file, stderr=file)
    try:
        while not answers(f"http://{address}/api/status?token={token}"):
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://{address}/lab/tree/5_explore.ipynb?token={token}"
    finally:
        server.terminate()
        try:
            server.wait(timeout=600)
        finally:
            server.kill()


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=600).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project that has made nothing yet, and an environment without the tester's own settings."""
    home = tmp_path_factory.mktemp("explore")
    for name in ("labkit", "notebooks", "workflow"):
        shutil.copytree(ROOT / name, home / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Nobody is there to answer whether JupyterLab may fetch news.
    settings = home / "config" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    own |= {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(home / "project")}
    return home / "project", os.environ | own


@pytest.fixture(scope="module")
def lab(browser, project):
    """The notebook in JupyterLab after "Run All Cells"."""
    folder, environment = project
    with jupyterlab(folder / "notebooks", environment) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(600_000)  # on a slow and busy machine
        page.goto(address)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        cell(page, "compare").locator("figure img").wait_for()
        yield page
        page.close()


def cell(page, call):
    """The notebook's cell that calls one of the views."""
    return page.locator(".jp-CodeCell").filter(has_text=f"explore.{call}(readers)")


def settled(view, caption):
    """What a view shows once its caption is so: the whole caption, and the picture as a data URL."""
    from playwright.sync_api import expect

    expect(view.locator("figcaption")).to_contain_text(caption, timeout=600_000)
    return view.locator("figcaption").inner_text(), view.locator("figure img").get_attribute("src")


def test_the_threshold_slider(lab):
    view = cell(lab, "move_threshold")
    slider = view.get_by_role("slider").nth(1)
    shown = [settled(view, "threshold 0.50: IoU ")]
    for threshold in ("0.51", "0.52", "0.53"):
        slider.press("ArrowRight")
        shown.append(settled(view, f"threshold {threshold}: IoU "))
    captions, pictures = zip(*shown)
    assert len(set(pictures)) == 4
    iou, _, mae = zip(*(caption.split("IoU ")[1].split(", ") for caption in captions))
    assert len(set(iou)) > 1 and len(set(mae)) == 1  # no threshold changes the MAE of the probabilities
    for threshold in ("0.52", "0.51", "0.50"):
        slider.press("ArrowLeft")
        last = settled(view, f"threshold {threshold}: IoU ")
    assert last == shown[0]
    handle = slider.bounding_box()
    slider.hover()
    lab.mouse.down()
    lab.mouse.move(handle["x"] + 500, handle["y"], steps=5)  # beyond the end
    lab.mouse.up()
    assert settled(view, "threshold 1.00: IoU 0.000")[1] != last[1]


def test_the_other_controls(lab):
    from playwright.sync_api import expect

    view = cell(lab, "browse")
    caption, picture = settled(view, "Films 1 to 3 of 6")
    box = view.get_by_role("checkbox", name="Predicted outline")
    box.uncheck()
    expect(view.locator("figure img")).not_to_have_attribute("src", picture, timeout=600_000)
    box.check()
    expect(view.locator("figure img")).to_have_attribute("src", picture, timeout=600_000)
    view.get_by_role("slider").last.press("End")
    settled(view, "Films 4 to 6 of 6")
    view.get_by_label("Class").select_option("Normal")  # has fewer films than the slider's place
    settled(view, "Films 1 to 2 of 2")

    view = cell(lab, "pick")
    first = settled(view, "true mask")
    view.get_by_role("slider").press("End")
    expect(view.locator("figcaption")).not_to_have_text(first[0], timeout=600_000)
    area = [float(caption.split("true mask ")[1].split(" %")[0]) for caption in (first[0], settled(view, "true")[0])]
    assert area[0] < area[1]
    expect(view.locator("figure img")).to_have_attribute("alt", "This film")  # no second scatter below the points
    points, ring = view.locator("svg circle:has(title)"), view.locator("svg circle:not(:has(title))")
    points.nth(1).click()
    settled(view, points.nth(1).locator("title").text_content() + ": true mask")
    expect(view.locator(".widget-readout")).to_have_text("2")
    expect(ring).to_have_attribute("cx", points.nth(1).get_attribute("cx"))
    view.get_by_role("slider").press("Home")
    assert settled(view, points.first.locator("title").text_content()) == first
    expect(ring).to_have_attribute("cx", points.first.get_attribute("cx"))
    assert points.count() == 6
    view.get_by_label("Run").select_option("infection-bce, seed 0")
    expect(points).to_have_count(8, timeout=600_000)  # its test films with a lesion; the 8 controls have none to score

    view = cell(lab, "compare")
    settled(view, "IoU of lung-bce, seed 0 minus that of lung-bce_iou, seed 0")
    view.get_by_label("Against").select_option("infection-bce, seed 0")
    expect(view.locator("figcaption")).to_contain_text("have different tasks or films", timeout=600_000)
    assert view.locator("figure img").count() == 0


def test_still_pictures_without_widgets(project, browser):
    """What papermill ran and nbconvert made a page of, on a machine without a network."""
    folder, environment = project
    for arguments in ("papermill notebooks/5_explore.ipynb out.ipynb", "jupyter nbconvert --to html out.ipynb"):
        run = subprocess.run(
            [sys.executable, "-m", *arguments.split()], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
    states = json.loads((folder / "out.ipynb").read_text())["metadata"]["widgets"].popitem()[1]["state"].values()
    # Points in it would be a second scatter beside that of the picture, wherever the state is shown.
    assert [one["state"]["films"] for one in states if one["model_module"] == "anywidget"] == [[]]
    page = browser.new_page()
    page.route("http*://**", lambda route: route.abort())
    page.goto((folder / "out.html").as_uri())
    pictures = page.locator("figure img")
    assert pictures.evaluate_all("all => all.map(one => one.naturalWidth > 700)") == [True] * 4
    assert pictures.last.is_visible() and all(pictures.nth(n).get_attribute("alt") for n in range(4))
    page.close()
