"""The commands `recsys mcp` and `recsys chat`; settings as in their YAML files."""

import ipaddress
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from recsys.apps.assistant.dialogue import EXAMPLES, SOFTWARE, Reply, reply_by_rules
from recsys.apps.assistant.language_model import create_language_model, reply_with_language_model
from recsys.apps.assistant.local_tools import load_tools, read_histories, resolve_customer
from recsys.apps.assistant.results import ListedProduct
from recsys.apps.assistant.sentences import DialogueState
from recsys.apps.assistant.tools import ShopTools
from recsys.errors import ConfigError
from recsys.serving.recommender import RequestError


def serve_mcp(
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
    """Serve the five functions over MCP until stopped. Raises ConfigError."""
    from recsys.apps.assistant.mcp_server import select_tools_by_header, serve_mcp_over_http, serve_mcp_over_stdio

    if transport not in ("stdio", "http"):
        raise ConfigError(f"transport={transport} is unknown; use stdio or http")
    if transport == "http" and api_key is None and (customer_header or not is_loopback(host)):
        setting = f"customer_header={customer_header}" if customer_header else f"host={host}"
        raise ConfigError(f"{setting} without a key would let anyone ask as any customer; set RECSYS_API_KEY")
    histories_by_user = read_histories(histories)
    tools = load_tools(artefact, catalogue, columns, threads, parts)
    if transport == "http":
        serve_mcp_over_http(select_tools_by_header(tools, histories_by_user, customer_header), host, port, api_key)
    else:
        name, items = resolve_customer(customer, history, histories_by_user)
        serve_mcp_over_stdio(lambda _: replace(tools, customer=name, history=items))


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
    """The lines of a dialogue with standard input, until that ends. Raises ConfigError."""
    logging.getLogger().setLevel(logging.WARNING)  # the terminal belongs to the dialogue
    if not 1 <= k <= 50:
        raise ConfigError(f"k={k} is invalid: expected 1 to 50 products")
    language_model = create_language_model(base_url, model, api_key, seconds)
    name, items = resolve_customer(customer, history, read_histories(histories))
    tools = replace(load_tools(artefact, catalogue, columns, threads, parts), customer=name, history=items)
    reply: Callable[..., Reply] = reply_by_rules
    if language_model:
        reply = partial(reply_with_language_model, language_model)
    yield language_model.software if language_model else SOFTWARE
    yield f"Say what you are looking for, then refine it, for example: {', '.join(EXAMPLES)}."
    state = DialogueState()
    for text in _read_sentences():
        try:
            answer = reply(tools, text[:1000], state, k)
        except RequestError as error:
            yield str(error)
            continue
        state = answer.state
        yield answer.say
        yield from (format_product_line(tools, rank, product) for rank, product in enumerate(answer.items, 1))


def format_product_line(tools: ShopTools, rank: int, product: ListedProduct) -> str:
    """A line of the terminal for one product of a list."""
    columns = ", ".join(f"{name} {value}" for name, value in product.columns.items() if name != "in_stock")
    because = tools.catalogue.products.get(product.because or "")
    reason = f"  because of {because.title if because else product.because}" if product.because else ""
    sold_out = "" if product.columns.get("in_stock", True) else "  sold out"
    return f"  {rank}. {product.title} [{product.item}]  {columns}{sold_out}{reason}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_sentences() -> Iterator[str]:
    """The lines of standard input, after a prompt on a terminal."""
    while True:
        if sys.stdin.isatty():
            sys.stdout.write("> ")
            sys.stdout.flush()
        text = sys.stdin.readline()
        if not text:
            return
        if text.strip():
            yield text.strip()
