"""The page about pseudo-labels: what it counts, what it shows, and that a browser runs it."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from rlipv2.microworld import write_coco
from rlipv2.pages.charts import heat_map, svg
from rlipv2.pages.pictures import thumbnail
from rlipv2.pseudo_labels.batches import ImageFailure
from rlipv2.pseudo_labels.records import Tags
from rlipv2.pseudo_labels.report import ReportImage, write_report
from rlipv2.pseudo_labels.report.examples import Extremes, Reservoir
from rlipv2.pseudo_labels.report.figures import top_relations
from rlipv2.pseudo_labels.report.sheets import write_sheets
from rlipv2.pseudo_labels.report.statistics import Statistics, funnel, levels
from tests.pseudo_labels.report_images import CLASS_NAMES, matcher, report_images

HOSTILE = '</script><img src=x onerror="fail()">&amp; "quoted"'
FAILURES = [
    ("caption", ImageFailure(3, "missing image", "3.jpg: image not found")),
    ("tag", ImageFailure(4, "corrupt image", "4.jpg: cannot be decoded")),
    ("tag", ImageFailure(5, "corrupt image", "<b>5.jpg</b>: cannot be decoded")),
]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("world") / "coco"
    return write_coco(root, num_train=14, num_test=4, size=(128, 144), workers=1, progress=False)


@pytest.fixture(scope="module")
def images(world) -> list[ReportImage]:
    """One with a text that is no text, one without anything, one whose picture is gone."""
    some = list(report_images(world))
    tags = some[0].tags
    hostile = Tags(
        np.concatenate([tags.pairs, tags.pairs[:1]]), (*tags.texts, HOSTILE), np.append(tags.scores, np.float32(0.99))
    )
    some[0] = replace(some[0], captions=[HOSTILE, *some[0].captions[1:]], tags=hostile)
    nothing = Tags(np.zeros((0, 2), np.int64), (), np.zeros(0, np.float32))
    some[1] = replace(some[1], tags=nothing, captions=(), graphs=())
    some[2] = replace(some[2], file=world / "gone.jpg")
    return some


@pytest.fixture(scope="module")
def report(tmp_path_factory, images, world) -> Path:
    out = tmp_path_factory.mktemp("run")
    return write(out, images, world)


def write(out, images, world, **options):
    arguments = {"truth": world / "truth" / "scene_graphs.json", "failures": FAILURES, "settings": {"mode": "fast"}}
    return write_report(out, images, class_names=CLASS_NAMES, matcher=matcher(), **arguments | options)


def table(report, name):
    with (report.parent / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def kept_of(images, threshold):
    return sum(int((image.tags.scores >= threshold).sum()) for image in images)


def test_everything_is_in_the_page(report):
    page = report.read_text(encoding="utf-8")
    found = re.findall(r"""(?:src|href|url\()\s*=?\s*["']?([^"'\s>)]+)""", page.split("<script", 1)[0])
    assert {address.split(":")[0] for address in found if not address.startswith("#")} == {"data"}
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert all(address.startswith("http://www.w3.org/") for address in addresses)  # names of SVG, never fetched
    assert "@import" not in page


def test_same_images_same_bytes(tmp_path, images, world, report):
    again = write(tmp_path, iter(images), world)
    for path in sorted(report.parent.rglob("*")):
        if path.is_file():
            other = again.parent / path.relative_to(report.parent)
            assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest(), path


def test_tables_count_what_is_there(report, images):
    at = {row["threshold"]: row for row in table(report, "thresholds")}
    assert list(at) == ["0.05", "0.1", "0.2", "0.25", "0.3", "0.4", "0.5"]
    for threshold in (0.1, 0.2, 0.5):
        row = at[str(threshold)]
        texts = {text for i in images for text, s in zip(i.tags.texts, i.tags.scores, strict=True) if s >= threshold}
        assert int(row["relations"]) == kept_of(images, threshold)
        assert int(row["names"]) == len(texts)
        assert float(row["per_image"]) == pytest.approx(kept_of(images, threshold) / len(images))
    relations = table(report, "relations")
    assert sum(int(row["at_0.2"]) for row in relations) == kept_of(images, 0.2)
    assert [int(row["at_0.05"]) for row in relations] == sorted((int(r["at_0.05"]) for r in relations), reverse=True)
    assert sum(int(row["count"]) for row in table(report, "relation_objects")) == kept_of(images, 0.2)
    assert sum(int(row["count"]) for row in table(report, "subject_objects")) == kept_of(images, 0.2)


def test_table_of_images(report, images):
    rows = table(report, "images")
    assert [int(row["image_id"]) for row in rows] == [image.image.image_id for image in images]
    assert [int(row["kept"]) for row in rows] == [kept_of([image], 0.2) for image in images]
    assert int(rows[0]["captions"]) == 10
    assert int(rows[1]["captions"]) == 0
    histogram = {int(row["relations"]): int(row["images"]) for row in table(report, "relations_per_image")}
    assert sum(histogram.values()) == len(images)
    assert histogram[0] >= 1


def test_funnel_narrows(report, images):
    steps = {row["step"]: int(row["count"]) for row in table(report, "funnel")}
    assert steps["captions"] == 10 * (len(images) - 1)
    assert steps["relations parsed"] >= steps["relations matched to classes"] > 0
    assert steps["scored relations"] >= steps["relations kept at 0.2"] == kept_of(images, 0.2)


def test_failures_by_kind(report):
    rows = [(row["stage"], row["kind"], row["count"]) for row in table(report, "failures")]
    assert rows == [("caption", "missing image", "1"), ("tag", "corrupt image", "2")]
    page = report.read_text(encoding="utf-8")
    assert "&lt;b&gt;5.jpg&lt;/b&gt;" in page


def test_scores_against_the_truth(report, images):
    scores = json.loads((report.parent / "scores.json").read_text(encoding="utf-8"))
    methods = {row["name"]: row for row in scores["methods"]}
    assert list(methods) == ["tagger", "captions, every pair", "captions, nearest pair"]
    assert scores["images"] == len(images)
    # the scores of the example know what is right, captions do not
    assert all(methods["tagger"]["average_precision"] > row["average_precision"] + 0.1 for row in scores["methods"][1:])
    assert methods["captions, every pair"]["at"][0]["recall"] >= methods["captions, nearest pair"]["at"][0]["recall"]
    rows = [row for row in table(report, "scores") if row["method"] == "tagger" and row["threshold"] == "0.20"]
    assert float(rows[0]["precision"]) == pytest.approx(methods["tagger"]["at"][2]["precision"], abs=1e-6)


def test_cards_hold_the_relations_of_their_images(report, images):
    cards = embedded(report.read_text(encoding="utf-8"))
    by_id = {str(image.image.image_id): image for image in images}
    assert len(cards["sample"]) == len(images)
    for card in cards["sample"]:
        image = by_id[card["id"]]
        assert len(card["relations"]) == len(image.tags)
        scores = [relation[3] for relation in card["relations"]]
        assert scores == sorted(scores, reverse=True)
        assert [caption["text"] for caption in card["captions"]] == list(image.captions)
        assert len(card["boxes"]) == len(card["names"]) == len(image.kept[1])
    assert {relation[4] for card in cards["sample"] for relation in card["relations"]} >= {"right", "wrong"}
    assert cards["most"][0]["relations"][0][2] == HOSTILE
    assert all(len(card["relations"]) == 1 for card in cards["most"] + cards["least"])
    assert all(card["relations"][0][3] >= 0.2 for card in cards["least"])
    assert len({card["relations"][0][2] for card in cards["most"]}) == len(cards["most"])
    assert by_id["2"].image.image_id in {int(card["id"]) for card in cards["nothing"]}


def test_matched_triplets_are_told_from_others(report):
    triplets = [
        triplet
        for card in embedded(report.read_text(encoding="utf-8"))["sample"]
        for caption in card["captions"]
        for triplet in caption["triplets"]
    ]
    assert any(all(triplet["classes"]) for triplet in triplets)
    assert any(not all(triplet["classes"]) for triplet in triplets)


def test_pictures_that_are_gone_are_told(report):
    page = report.read_text(encoding="utf-8")
    assert page.count('<div class="missing">no picture</div>') >= 1
    assert page.count('src="data:image/jpeg;base64,') >= 16


def test_a_report_of_nothing(tmp_path):
    page = write_report(tmp_path, [], class_names=CLASS_NAMES).read_text(encoding="utf-8")
    assert page.count("nothing to show") == 6
    assert 'id="truth"' not in page
    assert embedded(page)["sample"] == []


def test_a_truth_of_other_images(tmp_path, images, world):
    shifted = [replace(images[0], image=replace(images[0].image, image_id=10**6))]
    with pytest.raises(ValueError, match="image 1000000 is not in it"):
        write(tmp_path, shifted, world)
    fewer = replace(images[0].image, crowd=np.ones(len(images[0].image.labels), bool))
    empty = Tags(np.zeros((0, 2), np.int64), (), np.zeros(0, np.float32))
    with pytest.raises(ValueError, match=r"has \d+ boxes there, 0 in the annotations"):
        write(tmp_path, [replace(images[0], image=fewer, tags=empty)], world)
    assert not list((tmp_path / "report").rglob("*.*"))


def test_a_truth_needs_the_matcher(tmp_path, world):
    with pytest.raises(ValueError, match="takes the matcher"):
        write_report(tmp_path, [], class_names=CLASS_NAMES, truth=world / "truth" / "scene_graphs.json")


def test_levels_by_hand(images):
    statistics = Statistics(0.2, person=0)
    boxes, labels = np.array([[0, 0, 9, 9], [9, 0, 9, 9]]), np.array([0, 1])
    image = replace(images[0].image, boxes_xywh=boxes, labels=labels, crowd=np.zeros(2, bool))
    pairs = np.array([[0, 1], [1, 0], [0, 1], [0, 1]])
    tags = Tags(pairs, ("on", "on", "near", "by"), np.array([0.2, 0.3, 0.1, 0.6], np.float32))
    statistics.add(ReportImage(image, None, ("a", "b"), (), tags, num_candidates=2))
    at = {level.threshold: level for level in levels(statistics)}
    assert (at[0.2].relations, at[0.2].names, at[0.2].per_image) == (3, 2, 3)
    assert at[0.2].person_share == pytest.approx(2 / 3)
    assert (at[0.05].names_half, at[0.05].names_most, at[0.05].names_frequent) == (1, 3, 0)
    assert at[0.05].top10_share == 1
    assert (at[0.5].relations, at[0.4].relations, at[0.3].relations) == (1, 1, 2)
    assert statistics.kept_by_relation == {"on": 2, "by": 1}
    assert dict(funnel(statistics))["candidate pairs of boxes"] == 2


def numbered(images, count):
    return [replace(images[0], image=replace(images[0].image, image_id=number)) for number in range(count)]


def test_reservoir_is_uniform_and_repeatable(images):
    stream = numbered(images, 40)
    counts = np.zeros(40)
    for seed in range(600):
        reservoir = Reservoir(5, seed)
        for image in stream:
            reservoir.add(image)
        ids = [image.image.image_id for image in reservoir.images]
        assert ids == sorted(set(ids))
        assert len(ids) == 5
        counts[ids] += 1
    assert counts.min() > 45  # 75 expected
    assert counts.max() < 110


@pytest.mark.parametrize("lowest", [False, True])
def test_extremes_are_those_of_the_whole_stream(images, lowest):
    rng = np.random.default_rng(0)
    kept = Extremes(4, lowest=lowest, threshold=0.2)
    best: dict[str, float] = {}
    for image in numbered(images, 300):
        text, score = str(rng.integers(12)), np.float32(rng.random())
        kept.add(replace(image, tags=Tags(np.array([[0, 1]]), (text,), np.array([score]))))
        if score >= 0.2:
            better = min if lowest else max
            best[text] = better(float(score), best.get(text, float(score)))
    expected = sorted(best.items(), key=lambda item: item[1] if lowest else -item[1])[:4]
    assert [(item.image.tags.texts[item.row], item.score) for item in kept.relations] == expected


def test_charts_are_well_formed_and_colour_themselves(report):
    page = report.read_text(encoding="utf-8")
    charts = re.findall(r"<figure.*?(<svg.*?</svg>)</figure>", page, re.DOTALL)
    assert len(charts) == 9
    for chart in charts:
        ElementTree.fromstring(chart)
        assert "currentColor" in chart
        assert "#012345" not in chart
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_charts_of_little(images):
    assert "nothing to show" in heat_map("little", {}, ("a", "b"), (3, 3))
    assert "nothing to show" in top_relations({})
    assert "12k" in heat_map("one", {("on", "chair"): 12_345}, ("a", "b"), (3, 3))
    assert "<svg" in svg("empty", lambda axes: None)


def test_long_names_are_cut():
    assert "a very long name of a rel…" in top_relations({"a very long name of a relation that nobody reads": 3})


@pytest.mark.parametrize("content", [None, b"", b"no picture at all"])
def test_pictures_that_cannot_be_shown(tmp_path, content):
    path = tmp_path / "picture.jpg"
    if content is not None:
        path.write_bytes(content)
    assert thumbnail(path, (100, 100)) is None


# Clicks and slides as a user does, after all pictures were decoded, and tells what is seen then.
PROBE = """
<script>
const failures = [];
addEventListener("error", (event) => failures.push(String(event.message)));
addEventListener("unhandledrejection", (event) => failures.push(String(event.reason)));
function fail() { failures.push("executed"); }
addEventListener("load", async () => {
  const seen = {}, slider = document.getElementById("threshold"), select = document.getElementById("relation");
  const sample = () => [...document.querySelectorAll('[data-group="sample"]')].filter((card) => !card.hidden);
  const look = () => ({
    cards: sample().length, text: document.getElementById("shown").textContent,
    items: sample().flatMap((card) => [...card.querySelectorAll("li")].map((item) => item.textContent)),
    drawn: sample().reduce((sum, card) => sum + card.querySelectorAll("svg polygon").length, 0),
  });
  const pictures = [...document.images];
  pictures.forEach((picture) => { picture.loading = "eager"; });
  await Promise.all(pictures.map((picture) => picture.decode()));
  seen.pictures = pictures.filter((picture) => picture.complete && picture.naturalWidth > 0).length;
  seen.first = look();
  slider.value = "0.5"; slider.dispatchEvent(new Event("input"));
  seen.higher = look();
  seen.option = select.options[1].value;
  select.value = seen.option; select.dispatchEvent(new Event("change"));
  seen.filtered = look();
  seen.captions = document.querySelector(".card .caption").textContent;
  seen.fetched = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length;
  seen.failures = failures;
  const result = document.body.appendChild(document.createElement("pre"));
  result.id = "seen"; result.textContent = JSON.stringify(seen);
});
</script>
"""


def browse(page, *options):
    """What Chromium writes for a page, without any network."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    command += ["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={page.parent}"]
    return subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_shows_it_and_filters(tmp_path, report, images):
    page = tmp_path / "page.html"
    page.write_text(report.read_text(encoding="utf-8").replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    shown = browse(page, "--dump-dom").stdout
    seen = json.loads(unescape(re.search(r'<pre id="seen">(.*?)</pre>', shown, re.DOTALL)[1]))
    assert seen["failures"] == []
    assert seen["fetched"] == 0
    assert seen["pictures"] == report.read_text(encoding="utf-8").count("<img src=") > 20
    assert seen["captions"] == HOSTILE
    assert seen["first"]["cards"] == seen["higher"]["cards"] == len(images)
    assert len(seen["first"]["items"]) == kept_of(images, 0.2)
    assert len(seen["higher"]["items"]) == kept_of(images, 0.5)
    assert seen["higher"]["text"].startswith(f"{kept_of(images, 0.5)} relations in ")
    assert 0 < seen["higher"]["drawn"] < seen["first"]["drawn"]
    rows = [
        (k, text, score) for k, i in enumerate(images) for text, score in zip(i.tags.texts, i.tags.scores, strict=True)
    ]
    named = [k for k, text, score in rows if text == seen["option"] and score >= 0.5]
    assert len(seen["filtered"]["items"]) == len(named)
    assert seen["filtered"]["cards"] == len(set(named))


def test_sheets_show_pixels_as_stored(tmp_path, images):
    """Boxes count in these, whatever the EXIF data ask for."""
    image = next(image for image in images if len(image.tags.texts))
    height, width = image.image.size
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (width, height), "red").save(tmp_path / "turned.jpg", exif=exif)
    turned = replace(image, file=tmp_path / "turned.jpg")
    assert len(write_sheets(tmp_path, [turned], class_names=CLASS_NAMES, threshold=0.0, title="stored")) == 1


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_has_nothing_to_complain_about(tmp_path, report):
    page = Path(shutil.copy(report, tmp_path / "page.html"))
    told = browse(page, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1200,2400")
    assert "CONSOLE" not in told.stderr
    assert (tmp_path / "page.png").stat().st_size > 50_000
