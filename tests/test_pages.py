"""What self-contained pages share: escaping, filters, pictures, tables."""

import base64
import io
import json
import subprocess
import sys
from html import unescape

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from rlipv2.pages.charts import heat_map
from rlipv2.pages.pictures import data_uri, fitted, thumbnail
from rlipv2.pages.tables import write_table
from rlipv2.pages.template import as_script, environment

HOSTILE = '</script><img src=x onerror="fail()">\u2028'


def rendered(source: str, **values: object) -> str:
    return environment("rlipv2.callbacks.report").from_string(source).render(values)


def test_text_is_escaped() -> None:
    assert unescape(rendered("{{ text }}", text=HOSTILE)) == HOSTILE
    assert "<img" not in rendered("{{ text }}", text=HOSTILE)


def test_json_cannot_end_its_script() -> None:
    script = as_script({"text": HOSTILE})
    assert "</script" not in script
    assert json.loads(script) == {"text": HOSTILE}
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script(float("nan"))


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        ("{{ value | count }}", 12345, "12,345"),
        ("{{ value | share }}", 0.1234, "12.3 %"),
        ("{{ value | figure }}", 0.12345, "0.123"),
        ("{{ value | short }}", 0.126, "0.13"),
        ("{{ value | figure }}", None, "\u2013"),
        ("{{ value | share }}", float("nan"), "\u2013"),
    ],
)
def test_filters(source: str, value: float | None, text: str) -> None:
    assert rendered(source, value=value) == text


def test_a_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        rendered("{{ missing }}")


def test_pages_extend_a_base_that_brings_its_style() -> None:
    page = rendered('{% extends "pages/base.html" %}{% block main %}<p>here</p>{% endblock %}', title=HOSTILE)
    assert "<p>here</p>" in page
    assert "prefers-color-scheme: dark" in page
    assert "<img src=x" not in page


def test_pictures_become_text(tmp_path) -> None:
    picture = Image.fromarray(np.full((50, 200, 3), (200, 30, 30), np.uint8))
    small = fitted(picture, 100)
    assert small.size == (100, 25)
    assert fitted(small, 400) is small
    header, _, content = data_uri(small).partition(",")
    assert header == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (100, 25)
    assert fitted(Image.new("RGB", (1, 1000)), 10).size == (1, 10)
    picture.save(tmp_path / "a.png")
    content = thumbnail(tmp_path / "a.png", (50, 200), 100).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (100, 25)


def test_tables_quote_what_csv_needs_quoted(tmp_path) -> None:
    write_table(tmp_path / "new" / "table.csv", ("name", "value"), [('a, "b"', 1), ("c", None)])
    assert (tmp_path / "new" / "table.csv").read_text() == 'name,value\n"a, ""b""",1\nc,\n'


def test_rows_and_columns_of_a_heat_map_may_be_given() -> None:
    counts = {("a", "b"): 3, ("b", "b"): 1}
    chart = heat_map("given", counts, ("row", "column"), (9, 9), order=(["b", "a"], ["b", "z"]))
    assert [chart.index(f">{name}<") for name in ("b", "z")] == sorted(chart.index(f">{name}<") for name in ("b", "z"))
    assert ">z<" not in heat_map("frequent", counts, ("row", "column"), (9, 9))


def test_names_are_no_formulas() -> None:
    assert ">$\\foo$<" in heat_map("dollars", {("$\\foo$", "5$ or 6$"): 3}, ("row", "column"), (9, 9))


def test_templates_do_not_need_matplotlib() -> None:
    code = (
        "import sys, rlipv2.pages.template, rlipv2.pages.pictures; print({'matplotlib', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
