"""Who may be learned from, and under which name: asked once, before anything of the log is kept.

Rows of users who did not agree, or were erased, go nowhere: they are counted, and not in the quarantine either.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.preparation.erased_users import Ledger
from recsys.data.preparation.validation import Validated, checked_ids
from recsys.data.sources.files import existing, file_hash, read_table
from recsys.errors import DataError
from recsys.pseudonyms import YES, pseudonym, secret_key

EVENTS = "events"


@dataclass(frozen=True)
class Privacy:
    """`consent` says where users agree: None (nobody is asked), "events" (a column of the log), else a table (CSV, JSON
    or Parquet) with ids in the column `user`. The column `purpose` has to say yes. `pseudonyms` puts HMAC-SHA256 in
    place of user ids, under the key in the environment variable `key`, which the ledger of the erased needs too.
    """

    consent: str | None = None
    purpose: str = "train"
    user: str = "user"
    pseudonyms: bool = False
    key: str = "RECSYS_PRIVACY_KEY"

    def describe(self) -> dict[str, Any]:
        """What prepared data depend on, empty where nothing is asked: they are then the same as without."""
        asked: dict[str, Any] = {}
        if self.consent is not None:
            asked |= {name: value for name, value in asdict(self).items() if name in ("consent", "purpose", "user")}
            asked["table"] = None if self.consent == EVENTS else file_hash(existing(self.consent, SETTING))
        if self.pseudonyms:
            asked["pseudonyms"] = pseudonym(secret_key(self.key), "")[:16]  # other keys give other names
        return {"privacy": asked} if asked else {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the events that are read for the sake of consent."""
        return (self.purpose,) if self.consent == EVENTS else ()


SETTING = "privacy.consent"


def guarded(valid: Validated, privacy: Privacy, ledger: Ledger, extra: tuple[str, ...], engine: Engine) -> Validated:
    """The log without rows of erased users (counted as erased) and of those who did not agree (no_consent), under
    pseudonyms if they are wanted; `extra` are the columns that others need. DataError if no row is left.
    """
    if not (ledger.marks or privacy.consent or privacy.pseudonyms):
        return valid
    users = _users(valid)
    table = _verdicts(users, privacy, ledger, _agreed(privacy, engine))
    events, aside = (_judged(frame, privacy, table, engine) for frame in (valid.events, valid.quarantine))
    events = engine.keep(events, "guarded")
    found = events.filter(~nw.col("refused").is_null()).group_by("refused").agg(n=nw.len()).collect("pyarrow")
    refused = Counter({row["refused"]: row["n"] for row in found.to_native().to_pylist()})
    kept = valid.counts["kept"] - refused.total()
    if not kept:
        raise DataError(f"no event is left of {valid.counts['kept']:,}: {dict(refused)}; see data.{SETTING}")
    dropped = ["refused", *(f"extra_{name}" for name in privacy.columns if name not in extra)]
    events, aside = (frame.filter(nw.col("refused").is_null()).drop(dropped) for frame in (events, aside))
    return Validated(events, aside, valid.counts | {"kept": kept} | dict(sorted(refused.items())))


def renamed(privacy: Privacy) -> Callable[[str], str]:
    """From a raw id to the name that prepared data know."""
    if not privacy.pseudonyms:
        return str
    key = secret_key(privacy.key)
    return lambda user: pseudonym(key, user)


def _users(valid: Validated) -> list[str]:
    """Every id of the log, set aside or not, as text."""
    frames = (valid.events, valid.quarantine)
    ids = nw.concat([frame.select(nw.col("user").cast(nw.String)) for frame in frames]).unique()
    return [user for user in ids.collect("pyarrow").to_native()["user"].to_pylist() if user is not None]


def _agreed(privacy: Privacy, engine: Engine) -> set[str] | None:
    """Who agreed by the table; None where no table is asked."""
    if privacy.consent in (None, EVENTS):
        return None
    assert privacy.consent is not None
    table = read_table(engine, existing(privacy.consent, SETTING))
    missing = [name for name in (privacy.user, privacy.purpose) if name not in table.columns]
    if missing:
        there = ", ".join(name for name in table.columns if name != "_row")
        raise DataError(f"'{privacy.consent}' has no column {', '.join(map(repr, missing))}; there are: {there}")
    table = checked_ids(table.select(user=nw.col(privacy.user), said=nw.col(privacy.purpose)), "user", engine)
    rows = table.select(nw.col("user").cast(nw.String), yes=_yes("said")).collect("pyarrow").to_native().to_pylist()
    refusing = {row["user"] for row in rows if not row["yes"]}  # one no among several answers is a no
    return {row["user"] for row in rows} - refusing


def _verdicts(users: list[str], privacy: Privacy, ledger: Ledger, agreed: set[str] | None) -> pa.Table:
    """For each id the name it gets, and why its rows are refused, null where they are not."""
    rename = renamed(privacy)
    rules = [
        "erased" if user in ledger else "no_consent" if agreed is not None and user not in agreed else None
        for user in users
    ]
    text = {"_who": users, "_name": [rename(user) for user in users], "_rule": rules}
    return pa.table({name: pa.array(values, pa.string()) for name, values in text.items()})


def _judged(frame: Frame, privacy: Privacy, table: pa.Table, engine: Engine) -> Frame:
    """The rows under their users' new names, with the column `refused`."""
    verdicts = engine.from_frame(table).drop("_row")
    frame = frame.with_columns(_who=nw.col("user").cast(nw.String)).join(verdicts, on="_who", how="left")
    refused = nw.col("_rule")
    if privacy.consent == EVENTS:
        refused = nw.when(~_yes(f"extra_{privacy.purpose}")).then(nw.coalesce(refused, nw.lit("no_consent")))
        refused = nw.coalesce(nw.col("_rule"), refused.otherwise(nw.lit(None, nw.String)))
    frame = frame.with_columns(refused=refused)
    return (frame.with_columns(user=nw.col("_name")) if privacy.pseudonyms else frame).drop("_who", "_name", "_rule")


def _yes(column: str) -> nw.Expr:
    """Whether a column says yes; what is missing is a no."""
    said = nw.col(column).cast(nw.String).str.strip_chars().str.to_lowercase()
    return said.is_in(list(YES)).fill_null(value=False)
