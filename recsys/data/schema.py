"""Which columns an event log has and how its times are read."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from recsys.data.engines.times import UNITS
from recsys.errors import DataError

MICROSECONDS = 1_000_000
"""in a second"""
SOURCE_ONLY_ROLES = ("money", "place")
"""roles that a prepared dataset has no column for"""


@dataclass(frozen=True)
class Columns:
    """The source's name for each column, None where the source has no such column.

    `timestamp` orders a user's events; without it the order is `row`, the source's own ordinal (the row number if no
    column is named). Events with one `basket` value happened together. `value` (a rating, a price) is only filtered on;
    `weight` multiplies the loss. `money`, what was paid for the event, is only read by `recsys segment` and
    `recsys forecast`. `place`, where the event was, is read to join a context table. An event without a user but with a
    `session` belongs to an anonymous user who has only this session.
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

    def prepared_roles(self) -> dict[str, str]:
        """Standard name → the source's name, for the columns that the source has and a prepared dataset needs."""
        return {role: name for role, name in vars(self).items() if name is not None and role not in SOURCE_ONLY_ROLES}


@dataclass(frozen=True)
class Clock:
    """How times are read: `unit` of numbers (s, ms, us, ns, or auto) and `zone` of times written without a zone.

    With auto, the median of the column decides on the unit, and numbers such as 20240131 are dates.
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


def parse_timestamp(text: str, setting: str) -> int:
    """The microseconds since 1970 of a time in a setting, UTC if it names no zone; DataError if it is not a time."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise DataError(f"{setting}='{text}' is not a time; write 2024-01-31 or 2024-01-31T12:00Z") from error
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return (parsed - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
