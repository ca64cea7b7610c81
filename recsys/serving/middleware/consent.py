"""Who may be personalised: without consent a question keeps its context and loses the person."""

import asyncio
import csv
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError
from recsys.pseudonyms import YES
from recsys.serving.file_version import stamp
from recsys.serving.schemas import Answer, Ask, Asked, AskedOfItem

log = logging.getLogger(__name__)


class Consent:
    """A part of the server. `table` (CSV, JSON lines or Parquet) has a row a customer: its id in the column `user` and
    a yes in the column `purpose`. It is read again when the file changes; while it cannot be read, nobody agrees.

    Of whom the table does not know, `unknown` says whether they agree. `keep` are the columns of the context that are
    not about the person. Raises ConfigError for a table that cannot be read at the start.
    """

    def __init__(
        self,
        table: str,
        user: str = "user",
        purpose: str = "personalise",
        unknown: bool = False,
        keep: Sequence[str] = ("timestamp",),
    ) -> None:
        self.path, self.user, self.purpose = Path(table), user, purpose
        self.unknown, self.keep = unknown, frozenset(keep)
        self._stamp = stamp(self.path)
        self._answers = self._read()
        self._turn = asyncio.Lock()

    async def __call__(self, asked: list[Asked], then: Ask) -> list[Answer]:
        """Answers in order, each of which says its mode."""
        await self._refresh()
        agreed = [self._agreed(one) for one in asked]
        answers = await then([one if yes else self._without(one) for one, yes in zip(asked, agreed, strict=True)])
        for answer, yes in zip(answers, agreed, strict=True):
            answer.about["mode"] = "personalised" if yes else "non_personalised"
        return answers

    def _agreed(self, asked: Asked) -> bool:
        person = asked.user.get("id") if isinstance(asked.user, dict) else asked.user
        names = {str(name) for name in (asked.customer, person) if name is not None}
        if self._answers is None or not names:
            return self.unknown and self._answers is not None
        return all(self._answers.get(name, self.unknown) for name in names)

    def _without(self, asked: Asked) -> Asked:
        if isinstance(asked, AskedOfItem):
            return asked
        context = {name: value for name, value in (asked.context or {}).items() if name in self.keep}
        return asked.model_copy(update={"history": [], "user": None, "customer": None, "context": context})

    async def _refresh(self) -> None:
        if stamp(self.path) == self._stamp:
            return
        async with self._turn:
            seen = stamp(self.path)
            if seen == self._stamp:
                return
            try:
                self._answers = await asyncio.to_thread(self._read)
            except ConfigError as error:
                self._answers = None
                log.error("nobody is personalised", extra={"reason": str(error)})
            self._stamp = seen

    def _read(self) -> dict[str, bool] | None:
        """What each customer says; of several answers a no counts."""
        answers: dict[str, bool] = {}
        try:
            for row in _rows(self.path):
                name = str(row[self.user])
                answers[name] = str(row[self.purpose]).strip().lower() in YES and answers.get(name, True)
        except KeyError as error:
            raise ConfigError(f"'{self.path}' has no column {error}; see consent.user and consent.purpose") from error
        except (OSError, TypeError, ValueError, csv.Error) as error:
            raise ConfigError(f"the table of consents '{self.path}' cannot be read: {error}") from error
        return answers


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8-sig").splitlines()
    if path.suffix in (".jsonl", ".ndjson"):
        return [json.loads(line) for line in text if line.strip()]
    return list(csv.DictReader(text))
