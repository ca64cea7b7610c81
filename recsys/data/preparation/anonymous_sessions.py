"""Events without a user but with a session: the session takes the place of the user."""

import narwhals.stable.v2 as nw

from recsys.data.engines.duckdb import Engine, Frame
from recsys.errors import DataError

SESSION_PREFIX = "session:"
IS_ANONYMOUS = nw.col("user").str.starts_with(SESSION_PREFIX)


def name_anonymous_users(frame: Frame, engine: Engine) -> Frame:
    """The frame with users as text and without its column session; a missing user becomes "session:ID".

    Raises DataError if a user's id begins like that already.
    """
    frame = engine.keep(engine.to_text(frame, "user"), "sessions")
    clashing = frame.filter(IS_ANONYMOUS).select("user").head(1).collect("pyarrow").to_native()["user"].to_pylist()
    if clashing:
        raise DataError(
            f"user id '{clashing[0]}' looks like an anonymous session's; give such users ids without '{SESSION_PREFIX}'"
        )
    name = nw.concat_str(nw.lit(SESSION_PREFIX), nw.col("session"))
    session = nw.when(~nw.col("session").is_null()).then(name)
    return frame.with_columns(user=nw.coalesce(nw.col("user"), session)).drop("session")


def count_anonymous_events(events: Frame) -> int:
    """The number of events of anonymous sessions."""
    return int(events.filter(IS_ANONYMOUS).select(nw.len()).collect("pyarrow").item())
