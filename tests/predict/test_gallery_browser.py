"""The gallery in headless Chromium, from a disk."""

import os
import shutil
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rlipv2.predict.gallery import write_gallery
from tests.predict.galleries import many_lines, triplet, write_results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A page that notes its errors and what it asks for."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.problems, opened.asked = [], []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on("console", lambda message: opened.problems.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    opened.close()
    assert opened.problems == []
    assert all(url.startswith(("file://", "data:")) for url in opened.asked), opened.asked


def opened(page, folder):
    started = time.perf_counter()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector(".tile", state="attached")
    return time.perf_counter() - started


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("thousand"), many_lines(1000, number=100))
    write_gallery(folder)
    return folder


def test_a_thousand_images_open_quickly_and_pictures_come_as_they_are_needed(page, thousand):
    seconds = opened(page, thousand)
    page.wait_for_timeout(1500)
    size = os.path.getsize(thousand / "index.html")
    print(f"1,000 images: {seconds:.2f} s, page of {size / 1e6:.2f} MB")
    assert seconds < 5  # 0.7 s beside much other work
    assert page.locator(".tile").count() < 200
    assert size < 2.5e6
    for _ in range(60):
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(50)
        if page.locator(".tile").count() == 1000:
            break
    assert page.locator(".tile").count() == 1000
    assert "00999.jpg" in page.locator(".tile").last.inner_text()


def test_only_pictures_that_are_in_view_are_asked_for_and_nothing_from_elsewhere(browser, thousand):
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *arguments):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=thousand))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    wanted = []
    page.on("request", lambda request: wanted.append(request.url))
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.wait_for_timeout(3000)
        page.locator(".tile").first.click()
        page.wait_for_selector("#rows tr")
    finally:
        page.close()
        server.shutdown()
        server.server_close()
    print(f"{len(asked)} requests for 1,000 images")
    assert 10 < len(asked) < 200
    assert all(url.startswith((f"http://127.0.0.1:{server.server_port}/", "data:")) for url in wanted)
    assert any(path.startswith("/gallery/details/") for path in asked)


def test_filters_keep_what_fits(page, thousand):
    opened(page, thousand)
    page.select_option(
        "#relation",
        label=next(text for text in page.locator("#relation option").all_inner_texts() if text.startswith("fly")),
    )
    page.select_option(
        "#object",
        label=next(text for text in page.locator("#object option").all_inner_texts() if text.startswith("kite")),
    )
    page.locator("#least").fill("0.6")
    page.wait_for_timeout(300)
    number = int(page.inner_text("#shown").split()[0])
    assert 0 < number < 500
    assert page.inner_text("#shown") == f"{number} of 1000 with relations that fit"
    for text in page.locator(".tile .what").all_inner_texts():
        assert "fly kite" in text
        assert float(text.splitlines()[1]) >= 0.6
    page.fill("#search", "00")
    page.fill("#search", "no such name")
    page.wait_for_timeout(300)
    assert page.locator(".tile").count() == 0


def test_the_viewer_shows_triplets_and_follows_slider_and_keys(page, thousand):
    opened(page, thousand)
    page.locator("#least").fill("0")
    page.locator(".tile").nth(1).click()
    page.wait_for_selector("#rows tr")
    assert page.inner_text("#viewer-name") == "in/00001.jpg"
    assert page.locator("#rows tr").count() == 100
    assert page.inner_text("#count").startswith("100 of 100 relations; the picture shows the 8 best pairs")
    assert page.locator("#overlay rect[stroke-dasharray]").count() == 8
    page.locator("#viewer-least").fill("0.7")
    kept = page.locator("#rows tr").count()
    assert 0 < kept < 100
    assert all(float(text) >= 0.7 for text in page.locator("#rows td:first-child").all_inner_texts())
    page.locator("#rows tr").nth(1).click()
    assert page.locator("#overlay rect[stroke-dasharray]").count() == 1
    assert page.locator("#rows tr").nth(1).get_attribute("aria-selected") == "true"
    page.locator("#rows tr").nth(1).press("Enter")
    assert page.locator("#overlay rect[stroke-dasharray]").count() == min(8, kept)
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('viewer-name').textContent === 'in/00002.jpg'")
    assert page.input_value("#viewer-least") == "0.7"
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.getElementById('viewer-name').textContent === 'in/00000.jpg'")
    assert page.is_disabled("#previous")
    page.keyboard.press("ArrowRight")  # a disabled button does not swallow the keys
    page.wait_for_function("document.getElementById('viewer-name').textContent === 'in/00001.jpg'")
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")
    assert page.evaluate("document.activeElement.classList.contains('tile')")


def test_keys_go_from_tile_to_tile(page, thousand):
    opened(page, thousand)
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#rows tr")
    columns = page.evaluate("getComputedStyle(document.getElementById('cards')).gridTemplateColumns.split(' ').length")
    assert page.inner_text("#viewer-name") == f"in/{1 + columns:05d}.jpg"


def test_labels_of_a_crowded_picture_do_not_overlap_and_stay_inside(page, thousand):
    opened(page, thousand)
    page.locator("#least").fill("0")
    page.locator(".tile").first.click()
    page.wait_for_selector("#overlay text")
    boxes = page.evaluate(
        "[...document.querySelectorAll('#overlay rect[rx]')].map((r) => r.getBoundingClientRect().toJSON())"
    )
    stage = page.evaluate("document.getElementById('overlay').getBoundingClientRect().toJSON()")
    assert len(boxes) == 8
    for k, a in enumerate(boxes):
        assert a["left"] >= stage["left"] - 2
        assert a["right"] <= stage["right"] + 2
        for b in boxes[k + 1 :]:
            assert (
                a["right"] <= b["left"] + 2
                or b["right"] <= a["left"] + 2
                or a["bottom"] <= b["top"] + 2
                or b["bottom"] <= a["top"] + 2
            )


def test_pictures_have_texts_for_those_who_do_not_see_them(page, thousand):
    opened(page, thousand)
    assert page.locator(".tile img").count() >= 60
    assert all(page.locator(".tile img").evaluate_all("(images) => images.map((image) => Boolean(image.alt))"))
    page.locator(".tile").first.click()
    assert page.get_attribute("#picture", "alt").startswith("in/00000.jpg: ")
    assert page.get_attribute("#next", "aria-label") == "next image"


def test_odd_names_and_words_are_shown_as_they_are_and_run_nothing(page, tmp_path):
    names = ["<img src=x onerror=window.hacked=1>.jpg", "#a?b%20c d.jpg", "ä 猫.jpg", "a'b\"c.jpg"]
    words = "<img src=x onerror=window.hacked=1>"
    lines = [
        {"image": name, "width": 160, "height": 120, "triplets": [triplet(words, "<b>r</b>", "</script>&amp;")]}
        for name in names
    ]
    write_results(tmp_path, lines, errors=[{"image": names[0], "error": words}])
    write_gallery(tmp_path)
    opened(page, tmp_path)
    page.wait_for_timeout(300)
    assert sorted(page.locator(".tile .name").all_inner_texts()) == sorted(names)
    widths = page.locator(".tile img").evaluate_all("(images) => images.map((image) => image.naturalWidth)")
    assert widths == [160] * 4
    page.locator(".tile").first.click()
    page.wait_for_selector("#rows tr")
    assert page.locator("#rows td").all_inner_texts()[1:] == [words, "<b>r</b>", "</script>&amp;"]
    for _ in names:
        page.wait_for_function("document.getElementById('picture').naturalWidth === 160")
        page.keyboard.press("ArrowRight")
    assert page.evaluate("window.hacked") is None


def test_a_relation_without_object_and_an_image_without_relations(page, tmp_path):
    lines = [
        {"image": "a.jpg", "width": 160, "height": 120, "triplets": [triplet(boxes=((4, 4, 60, 60), (0, 0, 0, 0)))]},
        {"image": "b.jpg", "width": 160, "height": 120, "triplets": []},
    ]
    write_results(tmp_path, lines)
    write_gallery(tmp_path)
    opened(page, tmp_path)
    page.locator(".tile").first.click()
    page.wait_for_selector("#overlay rect")
    assert page.locator("#overlay rect[stroke-dasharray]").count() == 0
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('count').textContent === '0 of 0 relations'")


def test_details_that_are_missing_are_said_to_be(page, tmp_path):
    write_results(tmp_path, many_lines(2))
    write_gallery(tmp_path)
    shutil.rmtree(tmp_path / "gallery" / "details")
    opened(page, tmp_path)
    page.locator(".tile").first.click()
    page.wait_for_function("document.getElementById('count').textContent.includes('copy the folder as a whole')")
    page.problems.clear()  # the missing file is told there too


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme, browser, thousand):
    page = browser.new_page(color_scheme=scheme)
    page.goto((thousand / "index.html").as_uri())
    ground, ink = page.evaluate(
        "(() => {const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]})()"
    )
    levels = [sum(map(int, colour[4:-1].split(","))) / 3 for colour in (ground, ink)]
    assert (levels[0] > levels[1]) == (scheme == "light")
    assert abs(levels[0] - levels[1]) > 150
    page.close()
