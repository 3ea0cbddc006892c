"""Which films and masks are found, and which are refused."""

import io
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit import dataset, store
from labkit.errors import LabkitError

LUNG = "Lung Segmentation Data"


def first(root, task="lung", column="image"):
    return Path(dataset.index(root, task).iloc[0][column])


def test_table_of_samples(tree):
    lung, infection = (dataset.index(tree, task) for task in ("lung", "infection"))
    assert list(lung.columns) == ["task", "split", "class", "control", "name", "image", "mask", "lung"]
    assert lung.groupby(["split", "class"]).size().to_dict() == {
        (split, name): count for split, count in [("Train", 4), ("Val", 1), ("Test", 1)] for name in dataset.CLASSES
    }
    assert infection[~infection["control"]].groupby(["split", "class"]).size().to_dict() == {
        ("Train", "COVID-19"): 12,
        ("Val", "COVID-19"): 3,
        ("Test", "COVID-19"): 4,
    }
    assert infection[infection["control"]].groupby(["split", "class"]).size().to_dict() == {
        (split, name): count
        for split, count in [("Train", 6), ("Val", 2), ("Test", 2)]
        for name in ("Non-COVID", "Normal")
    }
    assert not lung["control"].any()
    assert (lung["mask"] == lung["lung"]).all()
    assert (infection["mask"] != infection["lung"]).all()
    for row in infection.itertuples():
        assert {Path(path).name for path in (row.image, row.mask, row.lung)} == {row.name}


def test_real_films(real):
    tables = {task: dataset.index(real, task) for task in dataset.TREES}
    counts = {task: table.groupby(["split", "control"]).size().to_dict() for task, table in tables.items()}
    assert counts["lung"] == {("Train", False): 360, ("Val", False): 90, ("Test", False): 90}
    # in the infection tree controls stand 1 : 1 to COVID-19 films
    for split, count in (("Train", 400), ("Val", 100), ("Test", 100)):
        assert counts["infection"][split, False] == counts["infection"][split, True] == count
    assert not dataset.is_phantom(real)
    for row in dataset.index(real, "infection").groupby("split").head(5).itertuples():
        film = dataset.read_film(row.image)
        lung, infection = dataset.read_mask(row.lung, film), dataset.read_mask(row.mask, film)
        assert film.shape == (256, 256)
        assert not (infection & ~lung & 1).any()  # infection never leaves the lung


def test_one_outer_level_is_enough(copy):
    inner = copy / LUNG / LUNG
    for split in inner.iterdir():
        split.rename(copy / LUNG / split.name)
    inner.rmdir()
    assert len(dataset.index(copy, "lung")) == 18


def test_any_case_of_names(copy):
    for path in sorted(copy.rglob("*"), key=lambda path: -len(path.parts)):
        if path.is_dir() or "masks" in path.parent.name.lower():
            path.rename(path.with_name(path.name.swapcase()))
    table = dataset.index(copy, "lung")
    assert len(table) == 18
    assert all(row.name.swapcase() == Path(row.mask).name for row in table.itertuples(index=False))


def test_a_mask_in_another_case_is_no_other_films(copy):
    folder = dataset.find_tree(copy, "lung") / "Train" / "Normal"
    film = next((folder / "images").iterdir())
    shutil.copy(film, film.with_name(film.name.upper()))
    with pytest.raises(LabkitError, match=re.escape(f"{film.name.upper()}: has no mask of the same name")):
        dataset.index(copy, "lung")
    (folder / "lung masks" / film.name).rename(folder / "lung masks" / film.name.title())
    film.unlink()
    assert dataset.index(copy, "lung")["mask"].str.endswith(f"/{film.name.title()}").sum() == 1


def test_two_folders_of_one_name_are_refused(copy):
    folder = dataset.find_tree(copy, "lung") / "Val" / "Normal"
    (folder / "Images").mkdir()
    with pytest.raises(LabkitError, match="Val/Normal/Images: stands beside 'images'; put their files into one folder"):
        dataset.index(copy, "lung")


def test_films_that_are_no_pngs_are_told(copy):
    folder = dataset.find_tree(copy, "lung") / "Val" / "Normal" / "images"
    for name in ("b.jpg", "a.dcm", ".DS_Store"):
        (folder / name).touch()
    (told,) = dataset.index(copy, "lung").attrs["warnings"]
    assert told.endswith("images/a.dcm: it and 1 more are no PNGs and are left out")


def test_a_hidden_file_called_png_is_no_film(copy):
    first(copy).with_name(".png").write_bytes(b"no film")
    assert len(dataset.index(copy, "lung")) == 18


def test_class_is_the_folder_not_the_name(copy):
    path = first(copy)
    path.rename(path.with_name("Non_COVID (7).png"))
    mask = path.parent.parent / "lung masks" / path.name
    mask.rename(mask.with_name("Non_COVID (7).png"))
    table = dataset.index(copy, "lung")
    assert table.loc[table["name"] == "Non_COVID (7).png", "class"].item() == "COVID-19"


def test_missing_mask_names_the_film(copy):
    first(copy, column="mask").unlink()
    with pytest.raises(LabkitError, match=r"covid-19 \(1\).png: has no mask"):
        dataset.index(copy, "lung")


def test_extra_masks_are_told(copy):
    first(copy).unlink()
    assert "1 lung masks belong to no film" in dataset.index(copy, "lung").attrs["warnings"][0]


def test_missing_class_is_told(copy):
    shutil.rmtree(copy / LUNG / LUNG / "Val" / "Normal")
    assert "no films of class Normal" in dataset.index(copy, "lung").attrs["warnings"][0]


def test_empty_split(copy):
    for path in (copy / LUNG / LUNG / "Val").rglob("images/*.png"):
        path.unlink()
    with pytest.raises(LabkitError, match="Val: no films for the lung task"):
        dataset.index(copy, "lung")


def test_whatever_the_decoder_raises_names_the_file(copy):
    path = first(copy)
    png = path.read_bytes()
    end = png.rindex(b"IEND") - 4
    profile = (
        bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4)
    )  # a colour profile of no bytes: Pillow looks for its name
    path.write_bytes(png[:end] + profile + png[end:])
    with Image.open(path) as image, pytest.raises(IndexError):
        image.load()
    with pytest.raises(LabkitError, match=r"covid-19 \(1\).png: cannot be read as a PNG"):
        dataset.read_film(path)


def test_missing_folders(copy, tmp_path):
    with pytest.raises(LabkitError, match="nowhere is not a folder"):
        dataset.index(tmp_path / "nowhere", "lung")
    with pytest.raises(LabkitError, match="has no folder 'Lung Segmentation Data'"):
        dataset.index(tmp_path, "lung")
    shutil.rmtree(copy / LUNG / LUNG / "Train" / "Normal" / "lung masks")
    with pytest.raises(LabkitError, match="Normal: has no folder 'lung masks'"):
        dataset.index(copy, "lung")


def damaged(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, Image.Image):
        content.save(path)
    else:
        Image.fromarray(content).save(path)
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, interlaced: bool = False) -> bytes:
    """A PNG that promises so many grey pixels, and ends after that."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(interlaced)))


def interlaced(film: np.ndarray) -> bytes:
    """A film as an interlaced PNG (Adam7), which Pillow reads but does not write."""
    steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = (row for top, left, down, right in steps for row in film[top::down, left::right])
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return header(*film.shape[::-1], interlaced=True) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def as_bytes(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


GREY = np.zeros((256, 256), np.uint8)
GREYS = np.arange(65536).reshape(256, 256).astype(np.uint8)  # every value
COLOURED = np.dstack([GREYS, GREYS.T, GREYS])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be read as a PNG"),
        (b"not a picture", "cannot be read as a PNG (it does not begin like one)"),
        (COLOURED, "mode RGB with colours"),
        (Image.fromarray(COLOURED).quantize(), "mode P with colours"),
        (np.dstack([GREYS, GREYS]).astype(np.uint8), "mode LA with transparent pixels"),
        (np.dstack([GREYS] * 4), "mode RGBA with transparent pixels"),
        (header(60_000, 60_000) + chunk(b"IDAT", b""), "could be decompression bomb"),
        (header(5_000, 5_000) + chunk(b"IDAT", b""), "5000 pixels a side; at most 4096 are read"),
        (header(256, 256) + chunk(b"IDAT", b""), "cannot be read as a PNG"),
        (as_bytes(Image.fromarray(GREY), "JPEG"), "cannot be read as a PNG"),
        (np.zeros((256, 256), np.uint16), "mode I;16"),
        (np.zeros((256, 200), np.uint8), "must be square"),
    ],
)
def test_films_that_cannot_be_used(tmp_path, content, told):
    path = damaged(tmp_path / "film.png", content)
    with pytest.raises(LabkitError, match="film.png: ") as error:
        dataset.read_film(path)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        np.dstack([GREYS] * 3),
        np.dstack([GREYS] * 3 + [GREY + 255]),
        np.dstack([GREYS, GREY + 255]),
        Image.fromarray(GREYS).convert("P"),
    ],
    ids=["RGB", "RGBA", "LA", "P"],
)
def test_greys_stored_otherwise_are_used_and_told(tmp_path, content):
    notes = []
    assert (dataset.read_film(damaged(tmp_path / "film.png", content), notes) == GREYS).all()
    assert len(notes) == 1 and "film.png: stores grey values as mode" in notes[0]


def test_masks_of_one_bit_and_interlaced_films(tmp_path):
    notes = []
    mask = damaged(tmp_path / "mask.png", Image.fromarray(GREYS > 9))
    assert (dataset.read_mask(mask, GREYS, notes=notes) == (GREYS > 9)).all() and "mode 1" in notes[0]
    assert (dataset.read_film(damaged(tmp_path / "film.png", interlaced(GREYS)), notes) == GREYS).all()


def test_names_of_all_kinds(home, tree, tmp_path):
    """Names that are markup, shell, or two lines long: films are used, and an error about them is one line."""
    copy = shutil.copytree(tree, tmp_path / "a 'quoted' $(folder) ü")
    film, mask = first(copy), first(copy, column="mask")
    name = 'a "b" <i>$x$ #panic("x") `ls` ü\n.png'
    for path in (film, mask):
        path.rename(path.with_name(name))
    pack = store.pack(copy, "lung", 64)
    assert name in set(pack.samples["name"])
    film.with_name(name).write_bytes(b"")
    with pytest.raises(LabkitError) as error:
        store.pack(copy, "lung", 64)
    assert "\n" not in str(error.value) and '#panic("x") `ls` ü\\n.png: cannot be read' in str(error.value)


def test_swapped_trees_are_refused(home, tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy")
    lung, infection = (dataset.find_tree(copy, task) for task in ("lung", "infection"))
    lung.rename(copy / "away")
    infection.rename(lung)
    (copy / "away").rename(infection)
    with pytest.raises(LabkitError, match="has no folder 'infection masks'"):
        dataset.index(copy, "infection")


def test_swapped_masks_are_refused_or_told(home, copy):
    """A film's mask under another film's name fits its size and cannot be known; controls' masks can."""
    table = dataset.index(copy, "infection")
    sick, control = table[~table["control"]].iloc[0], table[table["control"]].iloc[0]
    shutil.copy(sick["mask"], control["mask"])
    with pytest.raises(LabkitError, match="the mask of a control film must be black"):
        store.pack(copy, "infection", 64)


def test_truncated_film(tree, tmp_path):
    whole = first(tree).read_bytes()
    with pytest.raises(LabkitError, match="cannot be read as a PNG"):
        dataset.read_film(damaged(tmp_path / "film.png", whole[: len(whole) // 2]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (GREY + 7, "holds 7 too"),
        (np.zeros((128, 128), np.uint8), "is 128x128 pixels, but its film is 256x256"),
    ],
)
def test_masks_that_cannot_be_used(tmp_path, content, told):
    with pytest.raises(LabkitError, match="mask.png: ") as error:
        dataset.read_mask(damaged(tmp_path / "mask.png", content), GREY)
    assert told in str(error.value)


def test_masks_are_0_and_1(tmp_path):
    mask = GREY.copy()
    mask[:10] = 255
    read = dataset.read_mask(damaged(tmp_path / "mask.png", mask), GREY)
    assert read.dtype == np.uint8 and set(np.unique(read)) == {0, 1} and read.sum() == 2560
    assert not dataset.read_mask(damaged(tmp_path / "black.png", GREY), GREY).any()


def test_a_folder_that_is_no_class_is_told(copy):
    # In another case it is one; a name of one's own is not, and its films would be missed in silence.
    folder = copy / LUNG / LUNG / "Val"
    (folder / "Normal").rename(folder / "normal")
    assert not dataset.index(copy, "lung").attrs["warnings"]
    (folder / "normal").rename(folder / "Tuberculosis")
    told = dataset.index(copy, "lung").attrs["warnings"]
    assert len(told) == 2 and f"{folder / 'Tuberculosis'}: is no class (COVID-19, Non-COVID, Normal)" in told[0]


def test_a_name_that_is_not_utf8_is_refused(copy):
    image = Path(dataset.index(copy, "lung")["image"][0])
    os.rename(image, os.fsencode(image.parent) + b"/caf\xe9.png")
    with pytest.raises(LabkitError, match=r"caf\\udce9.png: its name is not UTF-8; rename it"):
        dataset.index(copy, "lung")
