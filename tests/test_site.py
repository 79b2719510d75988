"""The site of docs/: it builds without a warning, asks no other host for anything, and its pages work in a browser."""

import contextlib
import functools
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.test_docs import ROOT, site_pages

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Loaded(HTMLParser):
    """Addresses that a browser loads by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        loads = tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "input")
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev", "edit"):
            self.addresses.append(values.get("href") or "")
        elif loads and values.get("src"):
            self.addresses.append(values["src"] or "")
        assert "mermaid" not in (values.get("class") or ""), "the theme would load mermaid from another host"


def loaded_addresses(page: str) -> list[str]:
    parser = _Loaded()
    parser.feed(page)
    return parser.addresses


def is_remote(address: str) -> bool:
    return bool(re.match(r"(https?:)?//", address))


def test_the_site_has_every_page(site: Path) -> None:
    pages = [re.sub(r"(README|index)\.md$", "index.html", page).replace(".md", ".html") for page in site_pages()]
    assert [page for page in pages if not (site / page).is_file()] == []


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    loaded = {str(page): loaded_addresses(page.read_text()) for page in site.rglob("*.html")}
    assert sum(map(len, loaded.values())) > 100
    assert {page: remote for page, addresses in loaded.items() if (remote := [*filter(is_remote, addresses)])} == {}


def test_styles_load_nothing_from_other_hosts(site: Path) -> None:
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()) == []


def test_what_comes_from_another_host_is_noticed() -> None:
    page = '<link rel="stylesheet" href="https://a.example/a"><script src="//b.example/b"></script><img src="c.png">'
    assert len([*filter(is_remote, loaded_addresses(page))]) == 2


def test_documents_outside_of_docs_are_linked_as_pages(site: Path) -> None:
    page = (site / "datasets.html").read_text()
    assert 'href="data/vg/index.html">Visual Genome</a>' in page  # called as in the navigation, not by its file name
    assert 'href="benchmarks/annotation_store.py"' in page
    assert (site / "benchmarks/annotation_store.py").is_file()
    assert 'href="../../pseudo_labels.html' in (site / "data/vg/index.html").read_text()


def test_classes_are_in_the_reference(site: Path) -> None:
    page = (site / "api.html").read_text()
    for name in ("predict.predictor.RelationPredictor", "structures.LabelSpace", "structures.Triplets.top"):
        assert f'id="rlipv2.{name}"' in page


def test_links_in_code_stay_as_they_are() -> None:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = "see [a](b.md)\n\n```\n[c](d.md)\n```\n\n`[e](f.md)` and [g](https://host/h.md)"
    assert [link["target"] for link in hooks.LINK.finditer(hooks.CODE.sub("", text))] == ["b.md"]
    assert hooks.repository_path("faq.md", "../data/README.md") == "data/README.md"
    assert hooks.repository_path("data/vg/README.md", "../../docs/metrics.md") == "docs/metrics.md"
    assert hooks.site_path("docs/metrics.md") == "metrics.md"
    assert hooks.site_path("README.md") == "index.md"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test prints nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}")
def test_pages_in_a_browser(site: Path) -> None:
    """No page asks another host, breaks a script, or is wider than a phone; searching finds a page."""
    from playwright.sync_api import sync_playwright

    requests: list[str] = []
    errors: list[str] = []
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for path in sorted(site.rglob("*.html")):
            page.goto(address + path.relative_to(site).as_posix(), wait_until="load")
            too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(too_wide) <= 0, path
        page.set_viewport_size({"width": 1360, "height": 900})
        page.goto(address + "index.html")
        page.fill("input.md-search__input", "few-shot")
        page.wait_for_selector("a.md-search-result__link")
        assert "few-shot" in page.inner_text(".md-search-result__list").lower()
        browser.close()
    assert len(requests) > 100
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []
