"""Phantom films look as their classes should, and come out the same again."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from labkit import dataset, phantom
from labkit.errors import LabkitError


@pytest.fixture(scope="module")
def films():
    """Of each class 16 films with their lung and infection masks."""
    return {
        name: [phantom.draw(name, np.random.default_rng([8, place, number])) for number in range(16)]
        for place, name in enumerate(dataset.CLASSES)
    }


def test_same_seed_same_films(tree, tmp_path):
    phantom.write_tree(tmp_path / "again", films=12, seed=3)
    phantom.write_tree(tmp_path / "other", films=12, seed=4)
    paths = [path.relative_to(tree) for path in tree.rglob("images/*.png")]
    assert len(paths) == 57  # lung 12 + 3 + 3; infection 24 + 7 + 8, controls among them
    for path in paths:
        assert (dataset.read_film(tree / path) == dataset.read_film(tmp_path / "again" / path)).all()
        assert (dataset.read_film(tree / path) != dataset.read_film(tmp_path / "other" / path)).any()


@pytest.mark.parametrize("name", dataset.CLASSES)
def test_masks(films, name):
    for film, lung, infection in films[name]:
        assert film.shape == lung.shape == infection.shape == (256, 256)
        assert film.dtype == np.uint8 and set(np.unique(lung)) == {0, 255}
        assert 0.1 < (lung > 0).mean() < 0.5
        assert not (infection & ~lung).any()
        assert infection.any() == (name == "COVID-19")


def test_films_vary(films):
    shares = [(infection > 0).sum() / (lung > 0).sum() for _, lung, infection in films["COVID-19"]]
    assert min(shares) < 0.15 and max(shares) > 0.5
    areas = [(lung > 0).mean() for some in films.values() for _, lung, _ in some]
    assert max(areas) > 1.5 * min(areas)


def best_otsu(films: dict, truth: str) -> float:
    """Mean IoU of an Otsu threshold, dark or bright side, whichever is better on the whole."""
    scores = []
    for film, lung, infection in films["COVID-19"] + (films["Normal"] + films["Non-COVID"] if truth == "lung" else []):
        inside = (lung if truth == "lung" else infection) > 0
        bright = film > threshold_otsu(film)
        scores.append([(side & inside).sum() / (side | inside).sum() for side in (bright, ~bright)])
    return np.mean(scores, axis=0).max()


def test_a_threshold_does_not_solve_the_tasks(films):
    assert best_otsu(films, "lung") < 0.8
    assert best_otsu(films, "infection") < 0.3


def test_interrupted_tree_is_drawn_again(home):
    root = phantom.ensure(12)
    assert dataset.is_phantom(root)
    (root / dataset.PHANTOM_MARK).unlink()
    next(root.rglob("*.png")).unlink()
    assert len(list(phantom.ensure(12).rglob("images/*.png"))) == 57


def test_two_that_draw_at_once(home, monkeypatch):
    """The second waits and finds the films there, instead of removing what the first has drawn so far."""
    drawn, draw = [], phantom.write_tree

    def slowly(root, films, seed):
        drawn.append(root)
        time.sleep(0.5)
        draw(root, films, seed)

    monkeypatch.setattr(phantom, "write_tree", slowly)
    with ThreadPoolExecutor() as pool:
        roots = list(pool.map(phantom.ensure, [12, 12]))
    assert len(drawn) == 1 and len(set(roots)) == 1 and (roots[0] / "PHANTOM.json").is_file()


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabkitError, match="file/films: cannot be written .*; free some space, or name another folder"):
        phantom.write_tree(tmp_path / "file" / "films", films=12)
