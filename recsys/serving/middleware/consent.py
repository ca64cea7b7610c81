"""Middleware for consent: without it, a request keeps its context and loses everything about the person."""

import asyncio
import csv
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.errors import ConfigError
from recsys.pseudonyms import YES
from recsys.serving.file_version import read_file_version
from recsys.serving.schemas import CallNext, ItemHistoryRequest, RecommendRequest, RecommendResponse

log = logging.getLogger(__name__)


class Consent:
    """Removes the history, user and customer from requests of people who did not agree to personalisation.

    `table` (CSV, JSON lines or Parquet) has one row per customer: the id in the column `user`, and yes or no in the
    column `purpose`. It is read again when the file changes; while it cannot be read, nobody counts as agreeing.

    `unknown` says whether customers without a row agree. `keep` lists the columns of the context that are not about
    the person. Raises ConfigError for a table that cannot be read at the start.
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
        self._version = read_file_version(self.path)
        self._consents: dict[str, bool] | None = self._read()
        self._lock = asyncio.Lock()

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """Return one response per request, in order, each with its mode in `about`."""
        await self._refresh()
        consents = [self._has_consent(request) for request in requests]
        responses = await call_next(
            [
                request if consent else self._depersonalise(request)
                for request, consent in zip(requests, consents, strict=True)
            ]
        )
        for response, consent in zip(responses, consents, strict=True):
            response.about["mode"] = "personalised" if consent else "non_personalised"
        return responses

    def _has_consent(self, request: RecommendRequest) -> bool:
        user = request.user.get("id") if isinstance(request.user, dict) else request.user
        names = {str(name) for name in (request.customer, user) if name is not None}
        if self._consents is None or not names:
            return self.unknown and self._consents is not None
        return all(self._consents.get(name, self.unknown) for name in names)

    def _depersonalise(self, request: RecommendRequest) -> RecommendRequest:
        if isinstance(request, ItemHistoryRequest):
            return request
        context = {name: value for name, value in (request.context or {}).items() if name in self.keep}
        return request.model_copy(update={"history": [], "user": None, "customer": None, "context": context})

    async def _refresh(self) -> None:
        if read_file_version(self.path) == self._version:
            return
        async with self._lock:
            version = read_file_version(self.path)
            if version == self._version:
                return
            try:
                self._consents = await asyncio.to_thread(self._read)
            except ConfigError as error:
                self._consents = None
                log.error("nobody is personalised", extra={"reason": str(error)})
            self._version = version

    def _read(self) -> dict[str, bool]:
        """Return each customer's consent; if a customer has several rows, one no counts as no."""
        consents: dict[str, bool] = {}
        try:
            for row in _read_rows(self.path):
                name = str(row[self.user])
                consents[name] = str(row[self.purpose]).strip().lower() in YES and consents.get(name, True)
        except KeyError as error:
            raise ConfigError(
                f"'{self.path}' has no column {error}; see parts.consent.user and parts.consent.purpose"
            ) from error
        except (OSError, TypeError, ValueError, csv.Error) as error:
            raise ConfigError(f"the table of consents '{self.path}' cannot be read: {error}") from error
        return consents


def _read_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if path.suffix in (".jsonl", ".ndjson"):
        return [json.loads(line) for line in lines if line.strip()]
    return list(csv.DictReader(lines))
