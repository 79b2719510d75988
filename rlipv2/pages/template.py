"""Templates of pages: escaping, filters, and the style and scripts that all pages share."""

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

NONE = "\u2013"  # a dash


def environment(package: str, folder: str = "page") -> Environment:
    """Where the templates of a package are found, and as `pages/...` those that all pages share.

    Shared are `base.html` to extend, `base.css`, and `tables.js`, which makes tables sort and search. Filters:
    `count` (1,234), `share` (12.3 %), `figure` (0.123) and `short` (0.12); a missing or undefined number is a dash.

    Args:
        package: name of the package that holds the folder.
        folder: of its templates.
    """
    shared = PrefixLoader({"pages": PackageLoader("rlipv2.pages", "shared")})
    made = Environment(
        loader=ChoiceLoader([shared, PackageLoader(package, folder)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = lambda value: f"{value:,}"
    made.filters["share"] = lambda value: _number(value, "{:.1%}").replace("%", " %")
    made.filters["figure"] = lambda value: _number(value, "{:.3f}")
    made.filters["short"] = lambda value: _number(value, "{:.2f}")
    return made


def render(package: str, template: str, values: Mapping[str, Any], *, folder: str = "page") -> str:
    """A page, with everything that it needs inside.

    Args:
        package: see `environment`.
        template: name of its file.
        values: what the template shows; text is escaped unless it is `Markup`.
        folder: see `environment`.

    Raises:
        jinja2.UndefinedError: the template asks for a value that is not there.
    """
    return environment(package, folder).get_template(template).render(values) + "\n"


def as_script(content: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _number(value: float | None, form: str) -> str:
    return NONE if value is None or value != value else form.format(value)
