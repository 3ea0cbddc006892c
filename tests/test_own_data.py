"""data/OWN.md, followed word for word in a copy of the project, with films that are named, sized and stored in another way."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from labkit import dataset, phantom
from labkit.files import ROOT
from labkit.presets import Preset

PAGE = (ROOT / "data" / "OWN.md").read_text()
(SORT,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
LOOK, COPY, TRAIN, REPORT = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
CLASSES = {"COVID-19": 0, "Normal": 1}  # no film of Non-COVID: a class may be empty


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> pd.DataFrame:
    """A project in which the page's steps can be done, with two films of each of five patients a class; their table."""
    root = tmp_path_factory.mktemp("own") / "project"
    for name in ("labkit", "notebooks", "workflow", "report", "data/OWN.md", "Makefile"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(Path(sys.executable).parents[1])
    rows = []
    for number in range(20):
        category = list(CLASSES)[number % 2]
        name, patient = f"IMG {number:04}.jpg", f"P{number // 4}{category[0]}"
        pictures = phantom.draw(category, np.random.default_rng([number, CLASSES[category]]))
        for kind, pixels in zip(("films", "lungs", "infections"), pictures):
            if kind != "infections" or category == "COVID-19":
                (root / "own" / kind).mkdir(parents=True, exist_ok=True)
                # Not square; some in colours; and JPEG, which blurs the edges of masks.
                picture = Image.fromarray(pixels[:, 16:-16]).convert("RGB" if number % 3 == 0 else "L")
                picture.save(root / "own" / kind / name, quality=90)
        rows.append((name, patient, category))
    table = pd.DataFrame(rows, columns=["file", "patient", "class"])
    table.to_csv(root / "own" / "films.csv", index=False)
    (root / "data" / "sort.py").write_text(SORT)
    table.attrs["root"] = root
    return table


def follow(films, block):
    root = films.attrs["root"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(["bash", "-ec", block], cwd=root, env=environment, capture_output=True, text=True)


def test_the_page(films):
    root = films.attrs["root"]
    shutil.rmtree(root / "data" / "mylab", ignore_errors=True)  # of the test below
    looked = follow(films, LOOK)
    assert looked.returncode == 0, looked.stderr
    assert "lung task: 20 films, all can be used" in looked.stdout and "infection task: 20 films" in looked.stdout
    assert "no films of class Non-COVID" in looked.stdout

    # Each film is in one split, and all of a patient's in the same; every class is in every split.
    samples = dataset.index(root / "data" / "mylab", "lung")
    named = samples.assign(file=samples["name"].str.replace(".png", ".jpg")).merge(films, on=["file", "class"])
    assert len(samples) == len(named) == len(films)
    assert (named.groupby("patient")["split"].nunique() == 1).all()
    assert named.groupby("class")["split"].value_counts().to_dict() == {
        (category, split): count for category in CLASSES for split, count in (("Train", 6), ("Val", 2), ("Test", 2))
    }
    # Masks are those of their films, padded alike; controls have black ones.
    for sample in dataset.index(root / "data" / "mylab", "infection").itertuples():
        film = dataset.read_film(sample.image)
        lung, infection = dataset.read_mask(sample.lung, film), dataset.read_mask(sample.mask, film, sample.control)
        number = int(sample.name[4:8])
        *_, truth = phantom.draw(sample._3, np.random.default_rng([number, CLASSES[sample._3]]))
        wanted = np.pad(truth[:, 16:-16], ((0, 0), (16, 16))) > 0
        assert film.shape == (256, 256) and film[:, :16].max() == 0 and lung.any()
        assert ((infection > 0) != wanted).mean() < 0.01

    for block in (COPY, TRAIN):
        done = follow(films, block)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (root / "runs" / "mylab" / "lung-bce_iou,epochs=1" / "seed0" / "best.pt").is_file()


def test_the_report_finds_preset_and_films(films):
    """Making it would take minutes: that make knows the command, its preset and films, and a preset with the page's line."""
    told = follow(films, REPORT.replace("make", "make --dry-run --old-file=.venv/ready"))
    assert told.returncode == 0 and "labkit report" in told.stdout
    ((preset, data),) = re.findall(r"PRESET=(\S+) DATA=(\S+)", REPORT)
    if not (films.attrs["root"] / data).is_dir():
        follow(films, LOOK)
    follow(films, COPY)
    code = "import sys; from labkit import dataset, presets, store\nfor run in presets.load_all(*sys.argv[1:]):\n"
    code += "    print(len(dataset.index(store.root_of(run), run.task)))"
    found = follow(films, shlex.join([sys.executable, "-c", code, preset, data]))
    assert found.stdout.split() == ["20"] * 4, found.stderr
    (line,) = re.findall(r"`(collection: [^`]+)`", PAGE)
    preset = ROOT / "workflow" / "presets" / "laptop.yml"
    assert Preset(**yaml.safe_load(preset.read_text() + line)).collection == "our hospital"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda own: (own / "lungs" / "IMG 0002.jpg").unlink(), "lungs/IMG 0002.jpg"),
        (lambda own: Image.new("L", (9, 8)).save(own / "lungs" / "IMG 0002.jpg"), "IMG 0002.jpg: its masks are of"),
        (lambda own: Image.new("I;16", (224, 256)).save(own / "films" / "IMG 0002.jpg", "PNG"), "bring it to 8 bits"),
    ],
    ids=["no mask", "mask of another size", "16 bits"],
)
def test_what_does_not_fit_is_told(films, tmp_path, damage, told):
    own = shutil.copytree(films.attrs["root"] / "own", tmp_path / "own")
    damage(own)
    run = subprocess.run([sys.executable, "-c", SORT], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and told in run.stderr.splitlines()[-1]


def test_films_are_not_sorted_twice(films, tmp_path):
    shutil.copytree(films.attrs["root"] / "own", tmp_path / "own")
    first, again = (
        subprocess.run([sys.executable, "-c", SORT], cwd=tmp_path, capture_output=True, text=True) for _ in "ab"
    )
    assert first.returncode == 0 and again.returncode == 1 and "data/mylab: is there already" in again.stderr


def test_two_films_of_one_name_are_told(films, tmp_path):
    own = shutil.copytree(films.attrs["root"] / "own", tmp_path / "own")
    for kind in ("films", "lungs", "infections"):
        (own / kind / "siteB").mkdir()
        if (own / kind / "IMG 0000.jpg").exists():
            shutil.copy(own / kind / "IMG 0000.jpg", own / kind / "siteB")
    same = films.iloc[:1].assign(file="siteB/IMG 0000.jpg")  # of the same patient: so in the same split
    pd.concat([films, same]).to_csv(own / "films.csv", index=False)
    run = subprocess.run([sys.executable, "-c", SORT], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and "siteB/IMG 0000.jpg: another film has this name" in run.stderr.splitlines()[-1]


def test_lung_masks_only(films, tmp_path):
    own = shutil.copytree(films.attrs["root"] / "own", tmp_path / "own")
    shutil.rmtree(own / "infections")
    subprocess.run([sys.executable, "-c", SORT], cwd=tmp_path, check=True)
    assert [path.name for path in (tmp_path / "data" / "mylab").iterdir()] == ["Lung Segmentation Data"]
    assert len(dataset.index(tmp_path / "data" / "mylab", "lung")) == len(films)
