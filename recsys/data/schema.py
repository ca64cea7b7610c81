"""Names of the columns of an event log, how its times are read, and the error that bad data raise."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from recsys.data.engines.times import UNITS
from recsys.errors import DataError

MICROSECONDS = 1_000_000


ASIDE = ("money", "place")
"""roles that a prepared dataset has no column for"""


@dataclass(frozen=True)
class Columns:
    """Which column of the source holds what; None where the source has none.

    `timestamp` orders a user's events; without it the order is `row`, the source's own ordinal (the row
    number where no column is named). Events with one `basket` value happened together. `value` (a rating, a
    price) is only filtered on; `weight` multiplies the loss. `money`, what was paid for the event, is read by
    `recsys segment` and `recsys forecast` alone. `place`, where the event was, is read to join a table of moments. An
    event without a user but with a `session` is one
    of a user that this session alone knows.
    """

    user: str = "user"
    item: str = "item"
    timestamp: str | None = "timestamp"
    event: str | None = None
    value: str | None = None
    weight: str | None = None
    basket: str | None = None
    row: str | None = None
    session: str | None = None
    money: str | None = None
    place: str | None = None

    def named(self) -> dict[str, str]:
        """Standard name → the source's name, for the columns that the source has and a prepared dataset needs."""
        return {role: name for role, name in vars(self).items() if name is not None and role not in ASIDE}


@dataclass(frozen=True)
class Clock:
    """How times are read: `unit` of numbers (s, ms, us, ns; auto looks at the column's median, and takes 20240131 for
    a date), `zone` of times written without one.
    """

    unit: str = "auto"
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.unit not in ("auto", *UNITS):
            raise DataError(f"time unit '{self.unit}' is unknown; use auto, {', '.join(UNITS)}")
        try:
            _ = self.zone == "UTC" or ZoneInfo(self.zone)  # UTC needs no table of zones, which slim systems lack
        except (KeyError, ValueError, OSError) as error:
            raise DataError(f"time zone '{self.zone}' is unknown; write data.clock.zone like Europe/Berlin") from error


def microseconds(moment: str, setting: str) -> int:
    """A moment of the configuration since 1970, UTC where it names no zone."""
    try:
        parsed = datetime.fromisoformat(str(moment))
    except ValueError as error:
        raise DataError(f"{setting}='{moment}' is no time; write 2024-01-31 or 2024-01-31T12:00Z") from error
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return (parsed - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
