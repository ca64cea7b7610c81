"""The server's middleware for tests: another model file per variant, two interleaved rankings, the exposure log."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from recsys.apps.abtest.assignment import assign_variant, log_unit_id, resolve_shares
from recsys.apps.abtest.exposure_log import append_exposures
from recsys.apps.abtest.interleaving import interleave_rankings
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
    """Answers each customer with the model file of their variant; the first variant is the server's own file.

    Requests without a customer take no part. The innermost middleware; settings as in configs/abtest/variants.yaml.
    Raises ConfigError.
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
        self.shares = resolve_shares(variants, shares, traffic)
        if set(files) != set(variants[1:]):
            raise ConfigError(f"files={dict(files)} is invalid: expected one file for each of {list(variants[1:])}")
        self._models = {
            variant: load_variant_model(path, control, ServerLimits(**limits), threads)
            for variant, path in files.items()
        }

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """Answers in order, each with `about.variant` and `about.test` if its customer takes part."""
        rows_by_variant: dict[str | None, list[int]] = {}
        for row, request in enumerate(requests):
            rows_by_variant.setdefault(self._assign(request), []).append(row)
        calls = [
            self._models.get(variant or "", call_next)([requests[row] for row in rows])
            for variant, rows in rows_by_variant.items()
        ]
        answers: dict[int, RecommendResponse] = {}
        for (variant, rows), batch in zip(rows_by_variant.items(), await asyncio.gather(*calls), strict=True):
            for answer in batch if variant else ():
                answer.about |= {"test": self.name, "variant": variant}
            answers |= zip(rows, batch, strict=True)
        return [answers[row] for row in range(len(requests))]

    def _assign(self, request: RecommendRequest) -> str | None:
        if request.customer is None:
            return None
        return assign_variant(self.name, str(request.customer), self.shares, self.traffic)


class Interleaved:
    """Drafts every list from the server's file and another one.

    `about.teams` gives the file of each item by its id, so that middleware further out may move or drop items.
    The innermost middleware; settings as in configs/abtest/interleaved.yaml. Raises ConfigError.
    """

    def __init__(self, name: str, file: str, control: str, limits: Mapping[str, int], threads: int = 1) -> None:
        self.name = name
        self._other_model = load_variant_model(file, control, ServerLimits(**limits), threads)
        self._random = Random()

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """Answers in order."""
        both = await asyncio.gather(call_next(requests), self._other_model(requests))
        return [self._interleave(request.k, *pair) for request, *pair in zip(requests, *both, strict=True)]

    def _interleave(self, k: int, control: RecommendResponse, treatment: RecommendResponse) -> RecommendResponse:
        items, sides = interleave_rankings(control.items, treatment.items, k, self._random)
        teams = {item: ("control", "treatment")[side] for item, side in zip(items, sides, strict=True)}
        about = control.about | {"test": self.name, "variant": "interleaved", "teams": teams}
        scores = [
            float(len(items) - position) for position in range(len(items))
        ]  # scores of two files are not comparable
        return control.model_copy(update={"items": items, "scores": scores, "about": about})


class Exposures:
    """Writes one line to the exposure log for every list before it leaves the server.

    Put it outside all middleware that moves items.

    With a `key`, `unit` is a keyed hash of the customer. If the log cannot be written, the answer is sent all the same.
    """

    def __init__(self, path: str, key: str | None) -> None:
        self.path, self.key = Path(path), key
        if not self.path.parent.is_dir():
            raise ConfigError(f"there is no folder '{self.path.parent}' for the exposure log")
        self._writer = ThreadPoolExecutor(1, "exposures")

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """The answers, once they are logged."""
        answers = await call_next(requests)
        now = round(time.time(), 3)
        records = [self._record(now, request, answer) for request, answer in zip(requests, answers, strict=True)]
        await asyncio.get_running_loop().run_in_executor(self._writer, self._append, records)
        return answers

    def _record(self, now: float, request: RecommendRequest, answer: RecommendResponse) -> dict[str, Any]:
        unit = None if request.customer is None else log_unit_id(str(request.customer), self.key)
        test = {name: answer.about.get(name) for name in ("test", "variant")}
        record = {"time": now, "unit": unit, **test, "items": answer.items}
        for key, name in (("teams", "teams"), ("propensities", "chances")):
            if key in answer.about:
                record[name] = [answer.about[key].get(item) for item in answer.items]
        return record

    def _append(self, records: list[dict[str, Any]]) -> None:
        try:
            append_exposures(self.path, records)
        except OSError as error:
            log.error("exposures not logged", extra={"path": str(self.path), "reason": str(error)})


def load_variant_model(path: str, control: str, limits: ServerLimits, threads: int) -> CallNext:
    """A function that answers with another model file as the server does with its own.

    Raises ConfigError for a file that lacks inputs of `control`.
    """
    try:
        recommender = ModelFile(Path(path), threads).recommender
        missing = set(Recommender(control).describe()["inputs"]) - set(recommender.describe()["inputs"])
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    if missing:
        raise ConfigError(
            f"'{path}' lacks the inputs {sorted(missing)} of '{control}'; compare model files with equal inputs"
        )
    batcher = Batcher(limits.batch, limits.waiting)

    async def answer(requests: list[RecommendRequest]) -> list[RecommendResponse]:
        recommendations = await batcher.answer(
            recommender, [check_request(recommender, request) for request in requests]
        )
        return [make_response(recommendation) for recommendation in recommendations]

    return answer
