"""What a server does for tests: another file for another variant, two rankings in one list, a log of what was shown."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from recsys.apps.abtest.assignment import assign, planned, pseudonym
from recsys.apps.abtest.exposure_log import append
from recsys.apps.abtest.interleaving import team_draft
from recsys.errors import ConfigError
from recsys.serving.batching import Batcher
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender
from recsys.serving.schemas import (
    CallNext,
    RecommendRequest,
    RecommendResponse,
    ServerLimits,
    check_request,
    make_response,
)

log = logging.getLogger(__name__)


class Variants:
    """Customers get the file of their variant, the first variant being the server's own file; the innermost part.

    Who names no customer takes no part. Settings as in configs/abtest/variants.yaml; raises ConfigError.
    """

    def __init__(
        self,
        name: str,
        files: Mapping[str, str],
        control: str,
        limits: Mapping[str, int],
        variants: Sequence[str] = ("control", "treatment"),
        shares: Sequence[float] | None = None,
        traffic: float = 1.0,
        threads: int = 1,
    ) -> None:
        self.name, self.traffic = name, traffic
        self.shares = planned(variants, shares, traffic)
        if set(files) != set(variants[1:]):
            raise ConfigError(f"files name {sorted(files)}; give one for each of {list(variants[1:])}")
        self._asks = {
            variant: asking(path, control, ServerLimits(**limits), threads) for variant, path in files.items()
        }

    async def __call__(self, asked: list[RecommendRequest], then: CallNext) -> list[RecommendResponse]:
        """Answers in order, each with `about.variant` and `about.test` where its customer takes part."""
        variants = [self._variant(one) for one in asked]
        rows = {variant: [n for n, own in enumerate(variants) if own == variant] for variant in dict.fromkeys(variants)}
        found = await asyncio.gather(
            *(self._asks.get(variant or "", then)([asked[n] for n in own]) for variant, own in rows.items())
        )
        answers: dict[int, RecommendResponse] = {}
        for (variant, own), part in zip(rows.items(), found, strict=True):
            for answer in part if variant else ():
                answer.about |= {"test": self.name, "variant": variant}
            answers |= zip(own, part, strict=True)
        return [answers[n] for n in range(len(asked))]

    def _variant(self, one: RecommendRequest) -> str | None:
        return None if one.customer is None else assign(self.name, str(one.customer), self.shares, self.traffic)


class Interleaved:
    """Every list is drafted from the server's file and another one; `about.teams` says by item whose it is, so that
    a part further out may move or drop some.

    The innermost part; settings as in configs/abtest/interleaved.yaml; raises ConfigError.
    """

    def __init__(self, name: str, file: str, control: str, limits: Mapping[str, int], threads: int = 1) -> None:
        self.name = name
        self._other = asking(file, control, ServerLimits(**limits), threads)
        self._random = Random()

    async def __call__(self, asked: list[RecommendRequest], then: CallNext) -> list[RecommendResponse]:
        """Answers in order."""
        both = await asyncio.gather(then(asked), self._other(asked))
        return [self._drafted(one.k, pair) for one, *pair in zip(asked, *both, strict=True)]

    def _drafted(self, k: int, pair: Sequence[RecommendResponse]) -> RecommendResponse:
        items, sides = team_draft(pair[0].items, pair[1].items, k, self._random)
        teams = {item: ("control", "treatment")[side] for item, side in zip(items, sides, strict=True)}
        about = pair[0].about | {"test": self.name, "variant": "interleaved", "teams": teams}
        scores = [float(len(items) - place) for place in range(len(items))]  # those of two files do not compare
        return pair[0].model_copy(update={"items": items, "scores": scores, "about": about})


class Exposures:
    """A line in a log for every list that leaves the server, written before it leaves; outside all that moves items.

    With a `key`, `unit` is a pseudonym of the customer. A log that cannot be written costs no answer.
    """

    def __init__(self, path: str, key: str | None) -> None:
        self.path, self.key = Path(path), key
        if not self.path.parent.is_dir():
            raise ConfigError(f"there is no folder '{self.path.parent}' for the log of exposures")
        self._writer = ThreadPoolExecutor(1, "exposures")

    async def __call__(self, asked: list[RecommendRequest], then: CallNext) -> list[RecommendResponse]:
        """The answers, once they are logged."""
        answers = await then(asked)
        now = round(time.time(), 3)
        records = [self._record(now, one, answer) for one, answer in zip(asked, answers, strict=True)]
        await asyncio.get_running_loop().run_in_executor(self._writer, self._append, records)
        return answers

    def _record(self, now: float, one: RecommendRequest, answer: RecommendResponse) -> dict[str, Any]:
        unit = None if one.customer is None else pseudonym(str(one.customer), self.key)
        said = {name: answer.about.get(name) for name in ("test", "variant")}
        record = {"time": now, "unit": unit, **said, "items": answer.items}
        for said_by_item, name in (("teams", "teams"), ("propensities", "chances")):
            if said_by_item in answer.about:
                record[name] = [answer.about[said_by_item].get(item) for item in answer.items]
        return record

    def _append(self, records: list[dict[str, Any]]) -> None:
        try:
            append(self.path, records)
        except OSError as error:
            log.error("exposures not logged", extra={"path": str(self.path), "reason": str(error)})


def asking(path: str, control: str, limits: ServerLimits, threads: int) -> CallNext:
    """What asks another file as the server asks its own; ConfigError for one that takes less than `control` does."""
    try:
        recommender = ModelFile(Path(path), threads).recommender
        lacks = set(Recommender(control).describe()["inputs"]) - set(recommender.describe()["inputs"])
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    if lacks:
        raise ConfigError(f"'{path}' does not take {sorted(lacks)}, which '{control}' does; test files of equal inputs")
    batcher = Batcher(limits.batch, limits.waiting)

    async def ask(asked: list[RecommendRequest]) -> list[RecommendResponse]:
        found = await batcher.answer(recommender, [check_request(recommender, one) for one in asked])
        return [make_response(one) for one in found]

    return ask
