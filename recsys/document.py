"""A self-contained HTML page with sections of sentences, charts, tables and lists; all text is escaped."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MAX_NOWRAP = 24
"""cells of at most this many characters stay on one line"""


class ListItem(NamedTuple):
    """An entry of a list; `marked` entries are highlighted."""

    text: str
    marked: bool = False


class ItemLists(NamedTuple):
    """Lists next to each other, each with a heading."""

    title: str
    columns: Mapping[str, Sequence[ListItem]]


class Section(NamedTuple):
    """A heading with sentences, pictures (complete <svg> elements), a table whose first row is its header (no rows: no
    table), and lists.
    """

    title: str
    sentences: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[str] = ()
    lists: Sequence[ItemLists] = ()
    wide: bool = False
    """whether the section takes the full width of a large screen"""


def render_page(sections: Sequence[Section]) -> str:
    """The HTML of a page; the first section is its header."""
    header, *body_sections = sections
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    title = html.escape(header.title)
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{style}</style>"
    )
    body = "\n".join(
        f"<section{_width_class(section)}><h2>{html.escape(section.title)}</h2>{_render_content(section)}</section>"
        for section in body_sections
    )
    return f"{head}<body><header><h1>{title}</h1>{_render_content(header)}</header><main>{body}</main></body></html>\n"


def _width_class(section: Section) -> str:
    return ' class="wide"' if section.wide else ""


def _render_content(section: Section) -> str:
    paragraphs = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in section.sentences)
    lists = "".join(map(_render_lists, section.lists))
    return f"{paragraphs}{''.join(section.pictures)}{_render_table(section)}{lists}"


def _render_table(section: Section) -> str:
    if not section.rows:
        return ""
    head, *rows = section.rows
    lines = ["".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)]
    lines += [
        _render_cell('th scope="row"', row_name) + "".join(_render_cell("td", cell) for cell in cells)
        for row_name, *cells in rows
    ]
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    label = html.escape(section.title)
    return f'<div class="table" tabindex="0" role="region" aria-label="{label}"><table>{table}</table></div>'


def _render_cell(tag: str, text: str) -> str:
    short = ' class="short"' if len(text) <= MAX_NOWRAP else ""
    return f"<{tag}{short}>{html.escape(text)}</{tag[:2]}>"


def _render_lists(lists: ItemLists) -> str:
    columns = "".join(
        f"<div><h4>{html.escape(name)}</h4>{_render_items(items)}</div>" for name, items in lists.columns.items()
    )
    return f'<article><h3>{html.escape(lists.title)}</h3><div class="lists">{columns}</div></article>'


def _render_items(items: Iterable[ListItem]) -> str:
    texts = ((html.escape(item.text), item.marked) for item in items)
    lines = (f"<li><mark>{text}</mark></li>" if marked else f"<li>{text}</li>" for text, marked in texts)
    return f"<ol>{''.join(lines)}</ol>"
