import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from rlipv2.demo.finder import KEPT, Finder
from rlipv2.predict.images import ImageError
from rlipv2.structures import LabelSpace
from tests.demo.fakes import FakePredictor
from tests.predict.fakes import LABELS, write_images

OTHER = LabelSpace(objects=["cat", "cup"], relations=["drink from"])


@pytest.fixture
def picture(tmp_path):
    write_images(tmp_path, 1, size=(60, 80))
    return tmp_path / "0000.png"


def find(finder, file, label_space=LABELS, *, min_score=0.0, top=10):
    return finder(file, label_space, min_score=min_score, top=top)


def test_the_slider_filters_without_running_the_network(picture):
    finder = Finder(FakePredictor())
    all_of_them, some = find(finder, picture, top=50), find(finder, picture, min_score=0.5, top=50)
    assert finder.predictor.calls == 1
    assert 0 < len(some.rows) < len(all_of_them.rows) == 12
    assert some.left_out == 12 - len(some.rows)
    assert all(row[-1] >= 0.5 for row in some.rows)


def test_other_words_give_other_triplets(picture):
    finder = Finder(FakePredictor())
    assert {row[2] for row in find(finder, picture, OTHER).rows} == {"drink from"}
    assert {row[2] for row in find(finder, picture).rows} <= set(LABELS.relations)
    assert finder.predictor.calls == 2


def test_the_download_holds_what_is_shown(picture):
    found = find(Finder(FakePredictor()), picture, top=3)
    content = json.loads(json.dumps(found.content))
    assert (content["width"], content["height"]) == (80, 60)
    assert [triplet["relation"] for triplet in content["triplets"]] == [row[2] for row in found.rows]
    assert content["objects"] == list(LABELS.objects)
    assert found.graph.startswith("<svg")


def test_nothing_found_is_a_picture_without_labels(picture):
    found = find(Finder(FakePredictor()), picture, min_score=1.1)
    assert found.rows == []
    assert found.left_out == 12
    assert found.drawn.width >= 80


def test_a_large_picture_is_drawn_small(tmp_path):
    Image.fromarray(np.zeros((1500, 3000, 3), np.uint8)).save(tmp_path / "large.jpg")
    found = find(Finder(FakePredictor()), tmp_path / "large.jpg", top=1)
    assert found.drawn.width <= 1300
    assert found.content["width"] == 3000


def test_kept_answers_are_bounded(tmp_path):
    write_images(tmp_path, KEPT + 3)
    finder = Finder(FakePredictor())
    for file in sorted(tmp_path.iterdir()):
        find(finder, file)
    assert len(finder._kept) == KEPT


def test_threads_share_a_finder(tmp_path):
    names = write_images(tmp_path, 4)
    finder = Finder(FakePredictor())
    alone = {name: find(Finder(FakePredictor()), tmp_path / name).rows for name in names}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: find(finder, tmp_path / name).rows, names * 4))
    assert together == [alone[name] for name in names * 4]


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ImageError, match=r"notes\.txt"):
        find(Finder(FakePredictor()), tmp_path / "notes.txt")
