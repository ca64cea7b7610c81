"""The table in docs/models.md and the settings that SASRec chooses by the length of histories."""

import re
from pathlib import Path

import pytest
import yaml

from recsys.models.sasrec_defaults import get_default_settings, resolve_defaults
from tests.composed import composed

DOC = Path(__file__).parents[2] / "docs" / "models.md"


def read_table():
    """The values of each setting of the table, for short and for long histories."""
    text = DOC.read_text().split("What `model=sasrec` chooses by the length of histories")[1].split("\n\n")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    values = {}
    for settings, *cells in rows:
        for setting in re.findall(r"`([\w.]+)`", settings):
            values[setting] = tuple(yaml.safe_load(cell.strip("`")) for cell in cells)
    return values


@pytest.mark.parametrize(("column", "short"), [(0, True), (1, False)])
def test_the_table_and_the_code_agree(column, short):
    expected = {name.removeprefix("model."): values[column] for name, values in read_table().items()}
    block = expected.pop("block._target_")
    defaults = get_default_settings(short, pre_norm=not short)
    assert {name.removeprefix("block."): value for name, value in expected.items()} == defaults
    settings = resolve_defaults(composed("model=sasrec").model, short)
    assert settings["block"]["_target_"].endswith(f".{block}")
    for name, value in expected.items():
        node, key = (settings["block"], name[6:]) if name.startswith("block.") else (settings, name)
        assert node.get(key, value) == value, name


def test_every_choice_is_in_the_table():
    """A setting that differs between the two lengths has a row."""
    short, long = (resolve_defaults(composed("model=sasrec").model, length) for length in (True, False))
    differing = {f"model.{name}" for name in short if name != "block" and short[name] != long[name]}
    assert differing | {"model.block.dropout", "model.block.feedforward"} <= set(read_table())
