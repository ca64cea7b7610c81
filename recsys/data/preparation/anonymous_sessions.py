"""Events without a user but with a session: the session stands for the user."""

import narwhals.stable.v2 as nw

from recsys.data.engines.duckdb import Engine, Frame
from recsys.errors import DataError

PREFIX = "session:"
ANONYMOUS = nw.col("user").str.starts_with(PREFIX)


def with_sessions(frame: Frame, engine: Engine) -> Frame:
    """The frame with users as text, "session:ID" where there was none but a session, and without its column
    session; DataError if a user's own id begins like that.
    """
    frame = engine.keep(engine.to_text(frame, "user"), "sessions")
    taken = frame.filter(ANONYMOUS).select("user").head(1).collect("pyarrow").to_native()["user"].to_pylist()
    if taken:
        raise DataError(
            f"user id '{taken[0]}' looks like an anonymous session's; give such users ids without '{PREFIX}'"
        )
    session = nw.when(~nw.col("session").is_null()).then(nw.concat_str(nw.lit(PREFIX), nw.col("session")))
    return frame.with_columns(user=nw.coalesce(nw.col("user"), session)).drop("session")


def count_anonymous(events: Frame) -> int:
    """The number of events of anonymous sessions."""
    return int(events.filter(ANONYMOUS).select(nw.len()).collect("pyarrow").item())
