import json
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import pytest

from rlipv2.predict.gallery import IMAGES_PER_SCRIPT, MOST_NAMED, write_gallery
from rlipv2.predict.results import ResultsError
from tests.predict.galleries import many_lines, triplet, write_results

HOSTILE = (
    "</script><img src=x onerror=alert(1)>.jpg",
    "a\"b'c&lt;.jpg",
    "#frag?query%20.jpg",
    "umlaut ä 猫 \u2028.jpg",
    "\udcff.jpg",
)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.scripts = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, text):
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(text)


def parsed(folder):
    tags = Tags()
    tags.feed((folder / "index.html").read_text(encoding="utf-8"))
    return tags


def content(folder):
    return json.loads(parsed(folder).scripts[0])


def details(folder, number):
    text = (folder / "gallery" / "details" / f"{number:05d}.js").read_text()
    return json.loads(re.fullmatch(rf"details\({number},(.*)\);\n", text)[1])


def line(name, *triplets, **more):
    return {"image": name, "width": 160, "height": 120, "triplets": list(triplets), **more}


def test_cards_hold_names_pictures_and_distinct_triplets_with_their_best_scores(tmp_path):
    rows = [triplet(score=0.9), triplet(score=0.7), triplet(relation="push", score=0.1)]
    write_results(tmp_path, [line("b.jpg"), line("in/a b.png", *rows)])
    assert write_gallery(tmp_path) == tmp_path / "index.html"
    page = content(tmp_path)
    assert [card["name"] for card in page["cards"]] == ["b.jpg", "in/a b.png"]
    card = page["cards"][1]
    assert card["picture"] == "gallery/pictures/in/a%20b.png.jpg"
    assert card["drawn"] == "drawn/in/a%20b.png.jpg"
    assert card["size"] == [160, 120]
    named = [[*(page["words"][row] for row in named[:3]), named[3]] for named in card["named"]]
    assert named == [["person", "ride", "bicycle", 0.9], ["person", "push", "bicycle", 0.1]]
    assert page["cards"][0]["named"] == []


def test_details_hold_every_triplet_in_scripts_of_a_hundred_images(tmp_path):
    lines = list(many_lines(IMAGES_PER_SCRIPT + 5, number=60))
    write_results(tmp_path, lines, pictures=False)
    write_gallery(tmp_path)
    page = content(tmp_path)
    assert [card["at"] for card in page["cards"]] == [[*divmod(k, 100)] for k in range(105)]
    first = details(tmp_path, 1)[2]
    assert len(first) == 60
    expected = lines[102]["triplets"][0]
    names = [expected[end] for end in ("subject", "relation", "object")]
    assert [page["words"][row] for row in first[0][:3]] == names
    assert first[0][4] == [round(value, 1) for value in expected["subject_box"]]
    assert max(len(card["named"]) for card in page["cards"]) <= MOST_NAMED


def test_scripts_of_an_earlier_page_go(tmp_path):
    write_results(tmp_path, list(many_lines(205, number=1)), pictures=False)
    write_gallery(tmp_path)
    write_results(tmp_path, list(many_lines(5, number=1)), pictures=False)
    write_gallery(tmp_path)
    assert [path.name for path in (tmp_path / "gallery" / "details").iterdir()] == ["00000.js"]


def test_the_same_results_give_the_same_bytes(tmp_path):
    write_results(tmp_path, list(many_lines(20)))
    first = write_gallery(tmp_path).read_bytes()
    assert write_gallery(tmp_path).read_bytes() == first


def test_names_and_words_of_users_stay_text(tmp_path):
    words = "</script><script>alert(1)</script>"
    rows = [triplet(subject=words, relation="<b>ride</b>", target="\u2028 & <i>")]
    errors = [{"image": name, "error": f"{name}: <b>broken</b>"} for name in HOSTILE]
    write_results(
        tmp_path, [line(name, *rows) for name in HOSTILE], errors=errors, settings={"objects": [words], "min_score": 0}
    )
    write_gallery(tmp_path)
    tags = parsed(tmp_path).found
    assert [name for name, _ in tags].count("script") == 2
    assert not {"b", "i", "img"} & {name for name, _ in tags if name != "img"}
    assert [attributes.get("src") for name, attributes in tags if name == "img"] == [None]
    assert not any(key.startswith("on") for _, attributes in tags for key in attributes)
    page = content(tmp_path)
    assert words in page["words"]
    for card in page["cards"]:
        assert re.fullmatch(r"[A-Za-z0-9_.~/%-]+", card["picture"])
        assert (tmp_path / os.fsdecode(unquote_to_bytes(card["picture"]))).exists()


def test_no_address_of_another_place_is_in_a_page(tmp_path):
    write_results(tmp_path, list(many_lines(3)))
    text = write_gallery(tmp_path).read_text()
    assert set(re.findall(r"https?://[^\"'\s]*", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_without_pictures_cards_say_so(tmp_path):
    write_results(tmp_path, [line("a.jpg")], pictures=False)
    write_gallery(tmp_path)
    (card,) = content(tmp_path)["cards"]
    assert card["thumbnail"] is card["picture"] is card["drawn"] is None


def test_frames_of_a_video_are_one_card(tmp_path):
    frames = [line("clip.mov", triplet(score=k / 10), frame=k, seconds=k / 5) for k in (2, 0, 1)]
    video = {"image": "clip.mov", "frames": 3, "drawn": "clip.mov.mp4"}
    write_results(tmp_path, [line("a.jpg"), *frames], videos=[video])
    write_gallery(tmp_path)
    page = content(tmp_path)
    card = page["cards"][1]
    assert (card["name"], card["frames"], card["video"]) == ("clip.mov", 3, "drawn/clip.mov.mp4")
    assert card["named"][0][3] == 0.2
    (rows,) = details(tmp_path, card["at"][0])
    assert [seconds for seconds, _ in rows] == [0.0, 0.2, 0.4]
    assert "1 image and 1 video" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("scores", "start"), [((0.9, 0.4, 0.05), 0.3), ((0.01, 0.012, 0.03), 0.0), ((0.06,), 0.05), ((), 0.0)]
)
def test_the_slider_begins_where_half_of_the_images_show_something(scores, start, tmp_path):
    write_results(tmp_path, [line(f"{k}.jpg", triplet(score=score)) for k, score in enumerate(scores)], pictures=False)
    write_gallery(tmp_path)
    assert content(tmp_path)["start"] == start


def test_failed_files_are_listed(tmp_path):
    write_results(tmp_path, [], errors=[{"image": "bad.jpg", "error": "bad.jpg: is empty"}])
    text = write_gallery(tmp_path).read_text()
    assert "1 file could not be used" in text
    assert "bad.jpg: is empty" in text


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"run\.json: expected"):
        write_gallery(tmp_path)
