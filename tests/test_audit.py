"""What may be wrong with films: copies, leaks, odd masks, shortcuts."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from labkit import audit, dataset, store


def test_control_films_do_not_leak(home, copy):
    """Nobody is scored on them."""
    table = dataset.index(copy, "infection")
    for category in ("COVID-19", "Normal"):
        films = table[table["class"] == category].groupby("split")["image"].first()
        shutil.copy(films["Train"], films["Test"])
    pack = store.pack(copy, "infection", 128)
    pairs = audit.duplicates(pack)
    assert len(pairs) == 2 and [name.split("/")[0] for name in audit.leaked(pack, pairs)] == ["COVID-19"]


def names(pack, pairs):
    return {frozenset(pack.samples.loc[[pair.first, pair.second], "name"]) for pair in pairs.itertuples()}


def test_distinct_films_raise_no_alarm(home, tree):
    for task in ("lung", "infection"):
        pack = store.pack(tree, task, 128)
        assert audit.duplicates(pack).empty and audit.leaked(pack, audit.duplicates(pack)) == []


def test_planted_duplicates_are_found(home, copy):
    """One film copied from Train to Test with another mask; one copied within Train, brighter, noisier and a little larger."""
    table = dataset.index(copy, "lung")
    train, test = (table.query("split == @split and `class` == 'Normal'") for split in ("Train", "Test"))
    shutil.copy(train.iloc[0]["image"], test.iloc[0]["image"])
    film = Image.open(train.iloc[1]["image"])
    film = film.resize((262, 262)).crop((3, 3, 259, 259)).point(lambda value: 0.9 * value + 20)
    noise = np.random.default_rng(0).normal(0, 4, (256, 256))
    Image.fromarray((np.asarray(film) + noise).clip(0, 255).astype(np.uint8)).save(train.iloc[2]["image"])
    pack = store.pack(copy, "lung", 128)
    pairs = audit.duplicates(pack)
    assert names(pack, pairs) == {
        frozenset([train.iloc[0]["name"], test.iloc[0]["name"]]),
        frozenset([train.iloc[1]["name"], train.iloc[2]["name"]]),
    }
    assert pairs["exact"].tolist() == [True, False] and pairs["across"].tolist() == [True, False]
    assert 0 < pairs["mask_iou"][0] < 1  # the same picture, another mask
    assert audit.leaked(pack, pairs) == [f"Normal/{test.iloc[0]['name']}"]
    found = audit.summarise(pack, audit.look(pack))
    assert found["pairs"] == 2 and found["mask_iou"] == pairs["mask_iou"].mean()


def test_films_that_the_other_task_learns_from(home, copy):
    lungs, infections = (dataset.index(copy, task) for task in ("lung", "infection"))
    train, val, test = (lungs.query("split == @split")["image"].iloc for split in dataset.SPLITS)
    tested, controls = (infections.query(f"split == 'Test' and {which}") for which in ("not control", "control"))
    shutil.copy(tested["image"].iloc[0], train[2])
    shutil.copy(tested["image"].iloc[1], val[1])
    shutil.copy(tested["image"].iloc[2], test[0])  # nothing is learnt from this,
    shutil.copy(controls["image"].iloc[0], train[4])  # nobody is scored on that,
    shutil.copy(infections.query("split == 'Train'")["image"].iloc[0], train[3])  # or on that
    infection, lung = (store.pack(copy, task, 128) for task in ("infection", "lung"))
    assert audit.shared(infection, lung) == [f"COVID-19/{name}" for name in tested["name"].iloc[:2]]


def test_odd_masks(home, copy):
    table = dataset.index(copy, "infection").query("not control")
    lung = np.array(Image.open(table.iloc[0]["lung"]))
    lung[2:6, 2:6] = 255  # a speck in the corner
    Image.fromarray(lung).save(table.iloc[0]["lung"])
    rows, columns = np.nonzero(np.array(Image.open(table.iloc[1]["lung"])))
    tiny = np.zeros((256, 256), np.uint8)
    tiny[rows[:300], columns[:300]] = 255  # 300 of 65,536 pixels, all inside the lung
    Image.fromarray(tiny).save(table.iloc[1]["mask"])
    outside = np.array(Image.open(table.iloc[2]["mask"]))
    outside[:8, :40] = 255
    Image.fromarray(outside).save(table.iloc[2]["mask"])
    odd = audit.odd_masks(store.pack(copy, "infection", 256)).set_index("name")
    for kind, row in (("specks", 0), ("tiny", 1), ("outside", 2)):
        assert odd.index[odd[kind]].tolist() == [table.iloc[row]["name"]], kind


def test_equal_films_without_any_structure_are_found(home, copy):
    paths = dataset.index(copy, "lung").query("split == 'Train' and `class` == 'Normal'")["image"]
    for path in paths[:2]:
        Image.new("L", (256, 256), 90).save(path)
    pairs = audit.duplicates(store.pack(copy, "lung", 64))
    assert len(pairs) == 1 and pairs["exact"].all()


def test_brightness_and_letters_as_shortcuts(home, copy):
    table = dataset.index(copy, "lung")
    for path in table.query("`class` == 'Normal'")["image"]:
        Image.open(path).point(lambda value: value // 4).save(path)
    before = audit.shortcuts(store.pack(copy, "lung", 128))
    assert before.at["Normal", "brightness_auc"] == 0 and before.at["COVID-19", "brightness_auc"] > 0.5
    assert before.at["Normal", "brightness"] < 60 and (before["marked"] == 0).all()
    assert (before["marks_auc"] == 0.5).all()
    # A letter on its dark label in the corner of every COVID-19 film, and nowhere else.
    for path in table.query("`class` == 'COVID-19'")["image"]:
        film = Image.open(path)
        label = ImageDraw.Draw(film)
        label.rectangle((4, 8, 32, 40), fill=60)
        label.text((8, 8), "R", fill=255, font=ImageFont.load_default(28))
        film.save(path)
    after = audit.shortcuts(store.pack(copy, "lung", 128))
    assert after.at["COVID-19", "marked"] == 1 and after.at["COVID-19", "marks_auc"] == 1
    assert after.at["Normal", "marked"] == 0


def test_films_missing_of_the_whole_collection(home, tree):
    pack = store.pack(tree, "infection", 64)
    table = audit.missing(pack)
    assert table.at["Train", "found"] == 24 and table.at["Train", "official"] == 1864 + 932 + 932
    for task, total in (("lung", 33_920), ("infection", 5_826)):
        counts = audit.OFFICIAL[task]
        assert sum(counts[split] for split in dataset.SPLITS) == sum(counts[name] for name in dataset.CLASSES) == total
    assert audit.summarise(pack, audit.look(pack))["official"] == 5_826


def test_real_duplicates(home, real):
    """Train covid_686 and Test covid_3155 are the same film with masks that do not agree."""
    pack = store.pack(real, "infection", 256)
    pairs = audit.duplicates(pack)
    first = pairs.iloc[0]
    assert names(pack, pairs.iloc[:1]) == {frozenset(["covid_686.png", "covid_3155.png"])}
    assert first["exact"] and first["across"] and first["mask_iou"] == pytest.approx(0.946, abs=5e-4)
    assert "COVID-19/covid_3155.png" in audit.leaked(pack, pairs)
    assert len(pairs) >= 6 and pairs["exact"].sum() == 1


def test_real_films_of_the_two_trees(home, real):
    """Of the films at hand, whoever starts from a lung run is tested on none that it has learnt from."""
    infection, lung = (store.pack(real, task, 128) for task in ("infection", "lung"))
    assert audit.shared(infection, lung) == []


def test_real_letters(home, real):
    """COVID-19 films carry fewer bright letters than the others, and are brighter: both tell them apart."""
    table = audit.shortcuts(store.pack(real, "lung", 128))
    assert table.at["COVID-19", "marks_auc"] < 0.4 and table.at["COVID-19", "brightness_auc"] > 0.7
