"""The five functions over a model file in this process, and the customer whose functions they are."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from recsys.apps.assistant.catalogue_file import read_catalogue
from recsys.apps.assistant.search import ProductIndex
from recsys.apps.assistant.tools import Histories, ShopTools
from recsys.config.build import build
from recsys.errors import ConfigError
from recsys.serving.explain import explain
from recsys.serving.recommender import Recommender, RequestError
from recsys.serving.schemas import RecommendRequest, RecommendResponse, chain_middleware, check_request, make_response


def load_tools(
    model_file: str, catalogue: str, columns: Mapping[str, str | None], threads: int, parts: Mapping[str, Any]
) -> ShopTools:
    """The functions for a customer without a history; `parts` configures middleware around the model.

    Raises ConfigError for a file that is missing or was not written by `recsys export`.
    """
    products = read_catalogue(catalogue, columns)
    try:
        recommender = Recommender(model_file, threads)
    except RequestError as error:
        raise ConfigError(str(error)) from error
    middleware = [build(OmegaConf.create(settings)) for settings in parts.values()]
    answer_request = wrap_recommender(recommender, middleware)
    return ShopTools(products, ProductIndex(products), answer_request, partial(explain, recommender))


def wrap_recommender(
    recommender: Recommender, middleware: Sequence[Any] = ()
) -> Callable[[RecommendRequest], RecommendResponse]:
    """A function that answers one request through the middleware, outermost first, which runs in one event loop."""

    async def answer_all(requests: list[RecommendRequest]) -> list[RecommendResponse]:
        questions = [check_request(recommender, request) for request in requests]
        return [make_response(recommender.answer([question], allow)[0]) for question, allow in questions]

    outermost = chain_middleware(middleware, answer_all)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def answer_one(request: RecommendRequest) -> RecommendResponse:
        return (await outermost([request]))[0]

    return lambda request: asyncio.run_coroutine_threadsafe(answer_one(request), loop).result()


def read_histories(path: str | None) -> Histories:
    """Raw ids by user, from a Parquet file with the columns user and history. Raises ConfigError."""
    if path is None:
        return {}
    from pyarrow import ArrowInvalid, parquet

    if not Path(path).is_file():
        raise ConfigError(f"there is no file '{path}'; histories= takes Parquet with the columns user and history")
    try:
        table = parquet.read_table(path, columns=["user", "history"])
    except (ArrowInvalid, OSError) as error:
        raise ConfigError(f"histories={path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    if table.num_columns != 2:
        raise ConfigError(f"histories={path} needs the columns user and history; it has only {table.column_names}")
    rows = zip(table["user"].to_pylist(), table["history"].to_pylist(), strict=True)
    return {str(user): [str(item) for item in history or ()] for user, history in rows}


def resolve_customer(
    customer: str | int | None, history: Sequence[str | int], histories: Histories
) -> tuple[str | None, tuple[str, ...]]:
    """The customer's name and raw ids: `history` if not empty, else those of the file.

    Raises ConfigError for a customer that the file does not have.
    """
    name = None if customer is None else str(customer)
    if name is None or history:
        return name, tuple(map(str, history))
    if name not in histories:
        raise ConfigError(f"customer={name} is not a user in histories; give history=[ID,…] or another file")
    return name, tuple(histories[name])
