"""What a command starts with: the file, the catalogue, and whose functions they are."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from recsys.apps.assistant.catalogue import read
from recsys.apps.assistant.search import Index
from recsys.apps.assistant.tools import Tools
from recsys.config.build import build
from recsys.errors import ConfigError
from recsys.serving.explain import explain
from recsys.serving.recommender import Recommender, RequestError
from recsys.serving.schemas import RecommendRequest, RecommendResponse, chain_middleware, check_request, make_response

Histories = Mapping[str, Sequence[str]]


def nobodys_tools(
    artefact: str, catalogue: str, columns: Mapping[str, str | None], threads: int, parts: Mapping[str, Any]
) -> Tools:
    """The functions for somebody without a history; ConfigError for a file that is not there or none of ours."""
    products = read(catalogue, columns)
    try:
        recommender = Recommender(artefact, threads)
    except RequestError as error:
        raise ConfigError(str(error)) from error
    ask = asking(recommender, [build(OmegaConf.create(part)) for part in parts.values()])
    return Tools(products, Index(products), ask, partial(explain, recommender))


def asking(recommender: Recommender, parts: Sequence[Any] = ()) -> Callable[[RecommendRequest], RecommendResponse]:
    """A file's answer to one question, with parts around it, from the outermost one. Parts keep to one event loop."""

    async def ask_model(asked: list[RecommendRequest]) -> list[RecommendResponse]:
        questions = [check_request(recommender, one) for one in asked]
        return [make_response(recommender.answer([question], allow)[0]) for question, allow in questions]

    around = chain_middleware(parts, ask_model)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def ask_all(asked: RecommendRequest) -> RecommendResponse:
        return (await around([asked]))[0]

    return lambda asked: asyncio.run_coroutine_threadsafe(ask_all(asked), loop).result()


def read_histories(path: str | None) -> Histories:
    """Raw ids by user, of a Parquet file with the columns user and history; ConfigError."""
    if path is None:
        return {}
    from pyarrow import ArrowInvalid, parquet

    if not Path(path).is_file():
        raise ConfigError(f"there is no file '{path}'; histories= takes Parquet with the columns user and history")
    try:
        table = parquet.read_table(path, columns=["user", "history"])
    except (ArrowInvalid, OSError) as error:
        raise ConfigError(f"histories={path} is no Parquet file: {str(error).splitlines()[0]}") from error
    if table.num_columns != 2:
        raise ConfigError(f"histories={path} needs the columns user and history; it has {table.column_names} of them")
    rows = zip(table["user"].to_pylist(), table["history"].to_pylist(), strict=True)
    return {str(user): [str(item) for item in history or ()] for user, history in rows}


def customer_of(
    customer: str | int | None, history: Sequence[str | int], histories: Histories
) -> tuple[str | None, tuple[str, ...]]:
    """Who asks, and their raw ids: those given, else those of the file; ConfigError for a customer it does not have."""
    name = None if customer is None else str(customer)
    if name is None or history:
        return name, tuple(map(str, history))
    if name not in histories:
        raise ConfigError(f"customer={name} is no user of histories; give its history=[ID,…] or another file")
    return name, tuple(histories[name])
