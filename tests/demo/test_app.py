"""The page itself: started on loopback, driven in a browser."""

import json
import shutil
from pathlib import Path

import pytest

from rlipv2.demo.__main__ import main
from rlipv2.demo.examples import draw_examples, find_examples
from rlipv2.demo.finder import Finder
from rlipv2.predict.inputs import InputError
from tests.demo.fakes import FakePredictor
from tests.predict.fakes import write_images

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def test_examples_are_pictures_of_the_micro_world(tmp_path):
    paths = draw_examples(tmp_path)
    assert len(paths) == len({path.read_bytes() for path in paths}) == 6


def test_examples_of_a_folder(tmp_path):
    write_images(tmp_path, 9)
    assert [path.name for path in find_examples(tmp_path)] == [f"{number:04d}.png" for number in range(6)]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError):
        find_examples(tmp_path)


def test_weights_that_do_not_exist_end_the_command(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    from rlipv2.demo.app import Page, build_app, launch

    folder = tmp_path_factory.mktemp("demo")
    app = build_app(Page(Finder(FakePredictor()), folder), draw_examples(folder), title="Try <it>", min_score=0.0)
    yield launch(app, host="127.0.0.1", port=None, quiet=True, block=False)
    app.close()


@pytest.fixture(scope="module")
def page(address):
    from playwright.sync_api import sync_playwright

    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        # nothing outside of this machine may be needed, or asked
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.route("**/*", lambda route: route.continue_() if "127.0.0.1" in route.request.url else route.abort())
        opened.set_default_timeout(60_000)
        opened.goto(address)
        yield opened
        browser.close()
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def shown(page) -> int:
    """How many triplets the line above says that there are."""
    page.wait_for_function(
        "/^\\d+ triplets/.test(document.querySelector('#status').innerText.trim()) "
        "&& !document.querySelector('#status .generating')"
    )
    return int(page.inner_text("#status").split()[0])


@pytest.mark.slow
def test_upload_other_words_threshold_and_download(page, tmp_path):
    write_images(tmp_path, 1, size=(90, 120))
    page.set_input_files("input[type=file]", tmp_path / "0000.png")
    assert shown(page) == 10
    assert "hold" in page.inner_text("#relations textarea") or page.input_value("#relations textarea").startswith(
        "hold"
    )

    page.get_by_role("tab", name="Graph").click()
    before = page.text_content("#graph svg")
    page.fill("#relations textarea", "wave at, stare at")
    page.wait_for_function("document.querySelector('#graph svg').textContent.includes('wave at')")
    assert "wave at" not in before
    assert "hold" not in page.text_content("#graph svg")
    assert shown(page) == 10

    with page.expect_download() as download:
        page.click("#download")
    content = json.loads(Path(download.value.path()).read_text())
    assert content["relations"] == ["wave at", "stare at"]
    assert {triplet["relation"] for triplet in content["triplets"]} <= {"wave at", "stare at"}

    page.fill("#threshold input[type=number]", "0.9")
    page.press("#threshold input[type=number]", "Enter")
    page.wait_for_function("parseInt(document.querySelector('#status').innerText) < 10")

    page.get_by_role("tab", name="Table").click()
    page.wait_for_function("/(wave|stare) at/.test(document.querySelector('#table').innerText)")
    page.get_by_role("tab", name="Picture").click()
    page.wait_for_selector("#drawn img")
    page.screenshot(path=tmp_path / "demo.png")
    assert (tmp_path / "demo.png").stat().st_size > 10_000


@pytest.mark.slow
def test_no_word_is_an_error_that_people_can_read(page):
    page.fill("#objects textarea", " ")
    page.wait_for_selector("text=Type at least one word for the objects")
