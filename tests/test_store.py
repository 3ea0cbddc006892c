"""Films packed into arrays, and packs that are out of date or damaged."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xxhash
from PIL import Image

from labkit import dataset, store
from labkit.errors import LabkitError
from labkit.threads import in_threads


def written_at(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


def test_arrays_are_the_files(home, tree):
    pack = store.pack(tree, "infection", 256)
    assert pack.images.shape == pack.masks.shape == pack.lungs.shape == (39, 256, 256)
    for kind in (pack.images, pack.masks, pack.lungs):
        assert isinstance(kind, np.memmap) and kind.dtype == np.uint8
    for row, sample in pack.samples.iterrows():
        film = dataset.read_film(sample["image"])
        assert (pack.images[row] == film).all()
        assert (pack.masks[row] == dataset.read_mask(sample["mask"], film)).all()
        assert (pack.lungs[row] == dataset.read_mask(sample["lung"], film)).all()
    val = pack.samples.loc[pack.rows("Val", controls=True)]
    assert set(val["split"]) == {"Val"} and val["control"].sum() == 4
    assert len(pack.rows("Val")) == 3 and not pack.samples.loc[pack.rows("Val"), "control"].any()
    assert not pack.masks[pack.samples["control"]].any() and not pack.about["warnings"]


def test_smaller_films(home, tree):
    pack = store.pack(tree, "lung", 64)
    film = dataset.read_film(pack.samples.at[0, "image"]).astype(float)
    means = film.reshape(64, 4, 64, 4).mean((1, 3))
    assert np.abs(pack.images[0] - means).max() <= 1  # the mean of the pixels it covers, rounded
    assert set(np.unique(pack.masks)) == {0, 1}
    assert pack.lungs is pack.masks


def test_packed_again_only_when_films_change(home, copy):
    fingerprint = store.pack(copy, "lung", 64).about["fingerprint"]
    folder = store.folder_of(copy, "lung", 64)
    before = written_at(folder)
    store.pack(copy, "lung", 64)
    path = Path(dataset.index(copy, "lung").iloc[0]["image"])
    path.touch()
    assert store.pack(copy, "lung", 64).about["fingerprint"] == fingerprint
    assert written_at(folder) == before
    changed = dataset.read_film(path) // 2
    Image.fromarray(changed).save(path)
    pack = store.pack(copy, "lung", 64)
    assert pack.about["fingerprint"] != fingerprint
    assert (pack.images[0] == Image.fromarray(changed).resize((64, 64), Image.Resampling.BOX)).all()


def test_moved_films_have_the_same_fingerprint(home, tree, copy):
    assert store.pack(tree, "lung", 64).about == store.pack(copy, "lung", 64).about
    assert store.folder_of(tree, "lung", 64) != store.folder_of(copy, "lung", 64)


def test_fingerprint_and_sums_are_those_of_the_files(home, tree):
    """Both are taken while films are packed; packs of earlier versions are known by the same fingerprint."""
    pack = store.pack(tree, "infection", 64)
    films = hashlib.sha256(pack.samples[["task", "split", "class", "name"]].to_csv(index=False).encode())
    for kind in ("image", "mask", "lung"):
        for path in pack.samples[kind]:
            films.update(xxhash.xxh3_128_digest(Path(path).read_bytes()))
    assert pack.about["fingerprint"] == films.hexdigest()[:16]
    arrays = store.folder_of(tree, "infection", 64).glob("*.npy")
    assert pack.about["files"] == {path.name: xxhash.xxh3_128_hexdigest(path.read_bytes()) for path in arrays}
    assert len(pack.about["files"]) == 3


def test_threads_do_not_run_ahead_of_who_takes_the_results():
    begun = []
    results = in_threads(lambda item: begun.append(item) or -item, range(1000))
    assert next(results) == 0 and len(begun) <= 64
    assert [0, *results] == [-item for item in range(1000)] and len(begun) == 1000


def test_a_bad_file_is_named_and_nothing_is_left(home, copy):
    path = Path(dataset.index(copy, "lung").iloc[5]["mask"])
    path.write_bytes(b"")
    with pytest.raises(LabkitError, match=r"lung masks/.*: cannot be read as a PNG"):
        store.pack(copy, "lung", 64)
    assert not store.folder_of(copy, "lung", 64).exists()


def test_controls_without_masks_are_left_out(home, copy):
    for folder in list(copy.rglob("infection masks")):
        if folder.parent.name != "COVID-19":
            shutil.rmtree(folder)
    pack = store.pack(copy, "infection", 64)
    assert len(pack.images) == 19 and not pack.samples["control"].any()
    assert sum("control films are left out" in warning for warning in pack.about["warnings"]) == 6


def test_odd_but_usable_films_are_told(home, copy):
    row = dataset.index(copy, "lung").iloc[2]
    for kind in ("image", "mask"):
        Image.open(row[kind]).resize((300, 300), Image.Resampling.NEAREST).save(row[kind])
    black = Path(dataset.index(copy, "lung").iloc[3]["mask"])
    Image.fromarray(np.zeros((256, 256), np.uint8)).save(black)
    warnings = store.pack(copy, "lung", 64).about["warnings"]
    assert len(warnings) == 2
    assert black.name in warnings[0] and "all black" in warnings[0]
    assert row["name"] in warnings[1] and "not 256x256" in warnings[1]


def test_a_pack_prints_itself(home, tree):
    pack = store.pack(tree, "infection", 64)
    counts = {split: (pack.samples["split"] == split).sum() for split in ("Train", "Val", "Test")}
    about = "infection task: 39 films of 64x64, controls among them 20, warnings 0"
    assert repr(pack) == f"<Pack: {about}; " + ", ".join(f"{split} {count}" for split, count in counts.items()) + ">"
    page = pack._repr_html_()
    assert page.startswith(f"<p>{about}</p><table") and re.findall("<th>(.+?)</th>", page)[-4:] == [*counts, "All"]
    covid, total = (int(row[column]) for row in [re.findall("<td>(.+?)</td>", page)[-4:]] for column in (0, 3))
    assert (covid, total) == (19, 39)


def test_what_is_told_of_folders_is_as_they_are_now(home, copy):
    other = copy / "Lung Segmentation Data" / "Lung Segmentation Data" / "Train" / "Tuberculosis"
    assert store.pack(copy, "lung", 64).about["warnings"] == []
    other.mkdir()
    (told,) = store.pack(copy, "lung", 64).about["warnings"]
    assert "Tuberculosis: is no class" in told
    other.rmdir()
    assert store.pack(copy, "lung", 64).about["warnings"] == []
