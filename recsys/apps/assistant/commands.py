"""From settings to an MCP server or a dialogue in the terminal."""

import ipaddress
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from recsys.apps.assistant import chat as language
from recsys.apps.assistant.dialogue import EXAMPLES, SOFTWARE, Reply, reply
from recsys.apps.assistant.sentences import State
from recsys.apps.assistant.setup import customer_of, nobodys_tools, read_histories
from recsys.apps.assistant.tools import Listed, Tools
from recsys.errors import ConfigError
from recsys.serving.recommender import RequestError


def mcp(
    artefact: str,
    catalogue: str,
    columns: Mapping[str, str | None],
    transport: str,
    host: str,
    port: int,
    api_key: str | None,
    customer: str | int | None,
    history: Sequence[str | int],
    histories: str | None,
    customer_header: str | None,
    threads: int,
    parts: Mapping[str, Any],
) -> None:
    """Answer until told to stop. Raises ConfigError."""
    from recsys.apps.assistant.mcp_server import customers, over_http, over_stdio

    if transport not in ("stdio", "http"):
        raise ConfigError(f"transport={transport} is unknown; use stdio or http")
    if transport == "http" and api_key is None and (customer_header or not loopback(host)):
        told = f"customer_header={customer_header}" if customer_header else f"host={host}"
        raise ConfigError(f"{told} without a key would let anybody ask as anybody; set RECSYS_API_KEY")
    known = read_histories(histories)
    tools = nobodys_tools(artefact, catalogue, columns, threads, parts)
    if transport == "http":
        over_http(customers(tools, known, customer_header), host, port, api_key)
    else:
        who, own = customer_of(customer, history, known)
        over_stdio(lambda _: replace(tools, customer=who, history=own))


def chat(
    artefact: str,
    catalogue: str,
    columns: Mapping[str, str | None],
    base_url: str | None,
    model: str | None,
    api_key: str | None,
    seconds: float,
    customer: str | int | None,
    history: Sequence[str | int],
    histories: str | None,
    k: int,
    threads: int,
    parts: Mapping[str, Any],
) -> Iterator[str]:
    """Lines that answer the sentences of standard input, until there are no more. Raises ConfigError."""
    logging.getLogger().setLevel(logging.WARNING)  # the terminal belongs to the dialogue
    if not 1 <= k <= 50:
        raise ConfigError(f"k={k} cannot be; an answer has 1 to 50 products")
    model_there = language.made(base_url, model, api_key, seconds)
    who, own = customer_of(customer, history, read_histories(histories))
    tools = replace(nobodys_tools(artefact, catalogue, columns, threads, parts), customer=who, history=own)
    answer: Callable[..., Reply] = partial(language.reply, model_there) if model_there else reply
    yield model_there.software if model_there else SOFTWARE
    yield f"Say what you look for, and then for example: {', '.join(EXAMPLES)}."
    state = State()
    for text in _sentences():
        try:
            found = answer(tools, text[:1000], state, k)
        except RequestError as error:
            yield str(error)
            continue
        state = found.state
        yield found.say
        yield from (line(tools, place, one) for place, one in enumerate(found.items, 1))


def line(tools: Tools, place: int, one: Listed) -> str:
    """A product in the terminal."""
    columns = ", ".join(f"{name} {value}" for name, value in one.columns.items() if name != "in_stock")
    because = tools.catalogue.products.get(one.because or "")
    why = f"  because of {because.title if because else one.because}" if one.because else ""
    sold_out = "" if one.columns.get("in_stock", True) else "  sold out"
    return f"  {place}. {one.title} [{one.item}]  {columns}{sold_out}{why}"


def loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sentences() -> Iterator[str]:
    """Of standard input, asked for where somebody types."""
    while True:
        if sys.stdin.isatty():
            sys.stdout.write("> ")
            sys.stdout.flush()
        text = sys.stdin.readline()
        if not text:
            return
        if text.strip():
            yield text.strip()
