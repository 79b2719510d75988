"""What mkdocs needs beyond mkdocs.yml.

Documents link to each other as files of the repository, so that links work on a code host. Some of them lie outside of
`docs/`: they become pages of the site as well, at the same path, and the links of every page are rewritten to where
their target lies in the site. Other files of the repository that a page links to are copied beside it. Notebooks
become pages.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FRONT_PAGE = "README.md"  # that of the code host; the site has docs/index.md
CODE = re.compile(r"^(?P<fence> *```+)[^\n]*\n.*?^(?P=fence)\s*$|`[^`\n]+`", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[(?P<text>[^\[\]]*)\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)")
FILE_NAME = re.compile(r"[\w./-]+\.(md|ipynb)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of `docs/`, the pages of the navigation that lie outside of it, and what all of them link to."""
    for path in pages_of(config.nav or []):
        source, notebook = ROOT / path, (ROOT / path).with_suffix(".ipynb")
        if files.get_file_from_path(path) is not None:
            continue
        if source.is_file():
            files.append(File.generated(config, path, abs_src_path=str(source)))
        elif notebook.is_file():
            files.append(File.generated(config, path, content=notebook_page(notebook)))
            copy = notebook.relative_to(ROOT).as_posix()
            files.append(File.generated(config, copy, abs_src_path=str(notebook)))
    for path in sorted(linked_paths(files)):
        if files.get_file_from_path(site_path(path)) is None and (ROOT / path).is_file():
            hidden = InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path), inclusion=hidden))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text of a page with links that lead to pages and files of the site."""
    here = page.file.src_uri

    def rewritten(link: re.Match[str]) -> str:
        target = site_path(repository_path(here, link["target"]))
        file = files.get_file_from_path(target)
        if file is None:
            return link[0]  # left as it is: mkdocs names the page and the link
        # "see metrics.md" is a name on the code host; in the site pages are called as in the navigation
        title = file.page.title if file.page and FILE_NAME.fullmatch(link["text"]) else None
        return f"[{title or link['text']}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}"

    # Code stays as it is, but for the backslash that code hosts want before a bar in tables: it would be shown.
    pieces, end = [], 0
    for code in CODE.finditer(markdown):
        shown = code[0] if code["fence"] else code[0].replace(r"\|", "|")
        pieces += [LINK.sub(rewritten, markdown[end : code.start()]), shown]
        end = code.end()
    return "".join([*pieces, LINK.sub(rewritten, markdown[end:])])


def pages_of(entry: Any) -> list[str]:
    """The pages of a part of the navigation, in order."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages_of(part)]


def repository_path(here: str, link: str) -> str:
    """Path from the root of the repository of what the page `here` of the site links to as `link`."""
    outside = (ROOT / here).exists() or (ROOT / here).with_suffix(".ipynb").exists()
    folder = posixpath.dirname(here if outside else f"docs/{here}")
    return posixpath.normpath(posixpath.join(folder, link))


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site, before mkdocs makes pages of Markdown."""
    if path == FRONT_PAGE:
        return "index.md"
    if path.endswith(".ipynb"):
        return path.removesuffix(".ipynb") + ".md"
    return path.removeprefix("docs/")


def linked_paths(files: Files) -> set[str]:
    """Paths from the root of the repository of everything that the pages link to."""
    paths: set[str] = set()
    for file in files.documentation_pages():
        text = CODE.sub("", file.content_string)
        paths |= {repository_path(file.src_uri, link) for _, link in LINK.findall(text)}
    return paths


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its texts, its code, and a link to the file; notebooks are stored without outputs."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip()
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    title, *others = parts
    link = f'<a href="{path.name}" download>Download the notebook</a>'
    return "\n\n".join([title, link, *others]) + "\n"
