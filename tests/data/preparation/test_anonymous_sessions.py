"""Events without a user but with a session are users of their own, and never somebody else."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recsys.data.schema import Columns
from recsys.data.sources.files import FrameSource
from recsys.errors import DataError
from tests.data.preparation.test_filters import events
from tests.planted import START, prepared

COLUMNS = Columns(session="visit")


def log(users, visits):
    frame = pd.DataFrame({"user": users, "visit": visits, "item": list("abcdefgh")[: len(users)]})
    return frame.assign(timestamp=START + np.arange(len(users)))


@pytest.mark.parametrize("visits", [[7.0, 7, 7, np.nan, 8, 9], ["7", "7", " 7 ", " ", "8", "9"]])
@pytest.mark.parametrize("users", [[None, 7, None, None, 7, None], [None, "7", "", None, "7", None]])
def test_a_session_is_a_user_where_there_is_none(tmp_path, users, visits):
    found = prepared(tmp_path, log(users, visits), columns=COLUMNS)
    assert [(user, item) for user, item, _ in events(found)] == [
        ("7", "b"), ("7", "e"), ("session:7", "a"), ("session:7", "c"), ("session:9", "f")
    ]  # fmt: skip
    assert found.metadata["counts"] == {
        "read": 6, "kept": 5, "missing_user": 1, "anonymous": 3, "filtered_out": 0, "of_rare_items": 0, "events": 5
    }  # fmt: skip


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame])
def test_everybody_anonymous(tmp_path, convert):
    frame = convert({"user": [None, None], "visit": [1, 1], "item": ["a", "b"], "timestamp": [START, START + 1]})
    found = prepared(tmp_path, FrameSource(frame), columns=COLUMNS)
    assert [(user, item) for user, item, _ in events(found)] == [("session:1", "a"), ("session:1", "b")]


def test_without_its_column_a_missing_user_is_set_aside(tmp_path):
    found = prepared(tmp_path, log([None, "u"], ["1", "1"]))
    assert found.metadata["counts"]["missing_user"] == 1
    assert "anonymous" not in found.metadata["counts"]


def test_nobody_anonymous(tmp_path):
    assert prepared(tmp_path, log(["u", "v"], ["1", "1"]), columns=COLUMNS).metadata["counts"]["anonymous"] == 0


def test_a_user_that_looks_like_a_session_is_named(tmp_path):
    with pytest.raises(DataError, match="user id 'session:4' looks like an anonymous session's"):
        prepared(tmp_path, log(["session:4", None], ["1", "4"]), columns=COLUMNS)


def test_a_fractional_session_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"session id 1.5 is a fractional"):
        prepared(tmp_path, log([None, "u"], [1.5, 2]), columns=COLUMNS)
