"""One HTML page that loads nothing: sections of sentences, pictures, tables and lists. Every text is escaped."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SHORT = 24
"""characters of a cell that is not broken into lines"""


class Entry(NamedTuple):
    """A line of a list."""

    text: str
    marked: bool = False


class Lists(NamedTuple):
    """Lists side by side, each under its heading."""

    title: str
    columns: Mapping[str, Sequence[Entry]]


class Section(NamedTuple):
    """A heading, sentences, pictures (whole <svg> elements of `recsys.apps.reports.charts`), a table whose first row
    is its head (none: no table), and lists.
    """

    title: str
    sentences: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[str] = ()
    lists: Sequence[Lists] = ()
    wide: bool = False
    """whether it takes the whole width of a large screen"""


def render_page(sections: Sequence[Section]) -> str:
    """The page; the first section is its head."""
    first, *others = sections
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    title = html.escape(first.title)
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{style}</style>"
    )
    body = "\n".join(
        f"<section{_wide(one)}><h2>{html.escape(one.title)}</h2>{_inside(one)}</section>" for one in others
    )
    return f"{head}<body><header><h1>{title}</h1>{_inside(first)}</header><main>{body}</main></body></html>\n"


def _wide(section: Section) -> str:
    return ' class="wide"' if section.wide else ""


def _inside(section: Section) -> str:
    said = "".join(f"<p>{html.escape(one)}</p>" for one in section.sentences)
    return f"{said}{''.join(section.pictures)}{_table(section)}{''.join(map(_lists, section.lists))}"


def _table(section: Section) -> str:
    if not section.rows:
        return ""
    head, *rows = section.rows
    lines = ["".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)]
    lines += [_cell('th scope="row"', first) + "".join(_cell("td", cell) for cell in rest) for first, *rest in rows]
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    label = html.escape(section.title)
    return f'<div class="table" tabindex="0" role="region" aria-label="{label}"><table>{table}</table></div>'


def _cell(tag: str, text: str) -> str:
    """Short texts stay on one line."""
    short = ' class="short"' if len(text) <= SHORT else ""
    return f"<{tag}{short}>{html.escape(text)}</{tag[:2]}>"


def _lists(lists: Lists) -> str:
    columns = "".join(f"<div><h4>{html.escape(name)}</h4>{_entries(of)}</div>" for name, of in lists.columns.items())
    return f'<article><h3>{html.escape(lists.title)}</h3><div class="lists">{columns}</div></article>'


def _entries(entries: Iterable[Entry]) -> str:
    texts = ((html.escape(entry.text), entry.marked) for entry in entries)
    lines = (f"<li><mark>{text}</mark></li>" if marked else f"<li>{text}</li>" for text, marked in texts)
    return f"<ol>{''.join(lines)}</ol>"
