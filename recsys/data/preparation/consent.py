"""Applies consent, erasure and pseudonyms, before anything of the log is kept.

Rows of users who did not consent, or were erased, are counted and dropped; they do not go to quarantine either.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.preparation.erased_users import ErasedUsers
from recsys.data.preparation.validation import ValidatedEvents, normalize_ids
from recsys.data.sources.files import hash_file, read_table, resolve_data_path
from recsys.errors import DataError
from recsys.pseudonyms import YES, pseudonym, read_secret_key

IN_EVENTS = "events"
"""the value of `consent` that means: in a column of the events"""
CONSENT_SETTING = "privacy.consent"


@dataclass(frozen=True)
class Privacy:
    """Where users give consent, and whether their ids are replaced.

    `consent` is None (consent is not checked), "events" (a column of the log), or a table (CSV, JSON or Parquet) with
    ids in the column `user`. The column `purpose` has to say yes. `pseudonyms` replaces user ids by HMAC-SHA256, under
    the key in the environment variable `key`, which the list of erased users needs too.
    """

    consent: str | None = None
    purpose: str = "train"
    user: str = "user"
    pseudonyms: bool = False
    key: str = "RECSYS_PRIVACY_KEY"

    def describe(self) -> dict[str, Any]:
        """What prepared data depend on; empty by default, so that such datasets keep their fingerprint."""
        description: dict[str, Any] = {}
        if self.consent is not None:
            names = ("consent", "purpose", "user")
            description |= {name: value for name, value in asdict(self).items() if name in names}
            in_events = self.consent == IN_EVENTS
            description["table"] = None if in_events else hash_file(resolve_data_path(self.consent, CONSENT_SETTING))
        if self.pseudonyms:
            description["pseudonyms"] = pseudonym(read_secret_key(self.key), "")[:16]  # differs for every key
        return {"privacy": description} if description else {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the events that consent is read from."""
        return (self.purpose,) if self.consent == IN_EVENTS else ()


def apply_consent(
    valid: ValidatedEvents, privacy: Privacy, erased: ErasedUsers, extra: tuple[str, ...], engine: Engine
) -> ValidatedEvents:
    """The log without rows of erased users (counted as erased) and of users without consent (counted as no_consent).

    User ids become pseudonyms, if those are set. `extra` are the columns that later steps need. Raises DataError if no
    row is left.
    """
    if not (erased.digests or privacy.consent or privacy.pseudonyms):
        return valid
    users = _decide_users(_collect_users(valid), privacy, erased, _read_consent_table(privacy, engine))
    events, quarantine = (_mark_refused(frame, privacy, users, engine) for frame in (valid.events, valid.quarantine))
    events = engine.keep(events, "guarded")
    refused = _count_refused(events)
    kept = valid.counts["kept"] - refused.total()
    if not kept:
        raise DataError(
            f"none of the {valid.counts['kept']:,} events is left: {dict(refused)}; see data.{CONSENT_SETTING}"
        )
    unused = ["refused", *(f"extra_{name}" for name in privacy.columns if name not in extra)]
    kept_events, kept_quarantine = (
        frame.filter(nw.col("refused").is_null()).drop(unused) for frame in (events, quarantine)
    )
    return ValidatedEvents(kept_events, kept_quarantine, valid.counts | {"kept": kept} | dict(sorted(refused.items())))


def make_pseudonymizer(privacy: Privacy) -> Callable[[str], str]:
    """A function from a raw user id to the id in prepared data: its pseudonym or, without pseudonyms, itself."""
    if not privacy.pseudonyms:
        return str
    key = read_secret_key(privacy.key)
    return lambda user: pseudonym(key, user)


def _collect_users(valid: ValidatedEvents) -> list[str]:
    """Every user id of the log, quarantine included, as text."""
    frames = (valid.events, valid.quarantine)
    ids = nw.concat([frame.select(nw.col("user").cast(nw.String)) for frame in frames]).unique()
    return [user for user in ids.collect("pyarrow").to_native()["user"].to_pylist() if user is not None]


def _read_consent_table(privacy: Privacy, engine: Engine) -> set[str] | None:
    """The users who consent by the table, None if there is no table; one no among several answers is a no."""
    if privacy.consent in (None, IN_EVENTS):
        return None
    assert privacy.consent is not None
    table = read_table(engine, resolve_data_path(privacy.consent, CONSENT_SETTING))
    missing = [name for name in (privacy.user, privacy.purpose) if name not in table.columns]
    if missing:
        there = ", ".join(name for name in table.columns if name != "_row")
        raise DataError(f"'{privacy.consent}' has no column {', '.join(map(repr, missing))}; there are: {there}")
    table = table.select(user=nw.col(privacy.user), answer=nw.col(privacy.purpose))
    table = normalize_ids(table, "user", engine).select(nw.col("user").cast(nw.String), yes=_is_yes("answer"))
    rows = table.collect("pyarrow").to_native().to_pylist()
    refusing = {row["user"] for row in rows if not row["yes"]}
    return {row["user"] for row in rows} - refusing


def _decide_users(users: list[str], privacy: Privacy, erased: ErasedUsers, consenting: set[str] | None) -> pa.Table:
    """For each raw id (_who) the id in prepared data (_name) and why its rows are refused (_rule), null if not."""
    to_pseudonym = make_pseudonymizer(privacy)

    def find_rule(user: str) -> str | None:
        if user in erased:
            return "erased"
        return "no_consent" if consenting is not None and user not in consenting else None

    texts = {"_who": users, "_name": [*map(to_pseudonym, users)], "_rule": [*map(find_rule, users)]}
    return pa.table({name: pa.array(values, pa.string()) for name, values in texts.items()})


def _mark_refused(frame: Frame, privacy: Privacy, users: pa.Table, engine: Engine) -> Frame:
    """The rows under their users' new ids, with the column `refused`: the reason, null for rows that stay."""
    decisions = engine.from_frame(users).drop("_row")
    frame = frame.with_columns(_who=nw.col("user").cast(nw.String)).join(decisions, on="_who", how="left")
    refused = nw.col("_rule")
    if privacy.consent == IN_EVENTS:
        no = nw.when(~_is_yes(f"extra_{privacy.purpose}")).then(nw.coalesce(refused, nw.lit("no_consent")))
        refused = nw.coalesce(refused, no.otherwise(nw.lit(None, nw.String)))
    frame = frame.with_columns(refused=refused)
    return (frame.with_columns(user=nw.col("_name")) if privacy.pseudonyms else frame).drop("_who", "_name", "_rule")


def _count_refused(events: Frame) -> Counter[str]:
    """How many events are refused for each reason."""
    groups = events.filter(~nw.col("refused").is_null()).group_by("refused").agg(n=nw.len()).collect("pyarrow")
    return Counter({row["refused"]: row["n"] for row in groups.to_native().to_pylist()})


def _is_yes(column: str) -> nw.Expr:
    """Whether a column says yes; a missing value means no."""
    answer = nw.col(column).cast(nw.String).str.strip_chars().str.to_lowercase()
    return answer.is_in(list(YES)).fill_null(value=False)
