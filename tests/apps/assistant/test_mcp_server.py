"""MCP's own client calls the server: in this process, over stdio and over HTTP."""

import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from recsys.apps.assistant.dialogue import SOFTWARE
from recsys.apps.assistant.local_tools import load_tools, read_histories
from recsys.apps.assistant.mcp_server import create_mcp_server, select_tools_by_header
from recsys.apps.assistant.tools import TOOL_NAMES
from tests.planted_shop import catalogue_file, histories_file
from tests.serving.test_serve import free_port

ROOT = Path(__file__).parents[3]
KEY = "only-the-proxy-knows"
REFUSED = [
    ("recommend", {"k": 0}, "k: Input should be greater than or equal to 1"),
    ("recommend", {"k": 51}, "k: Input should be less than or equal to 50"),
    ("search", {}, "text: Missing required argument"),
    ("recommend", {"customer": "u11"}, "customer: Unexpected keyword argument"),
    ("similar", {"item": "i99"}, "there is no product 'i99'"),
    ("explain", {"item": "i06"}, "out of stock"),
    ("buy", {"item": "i00"}, "there is no function 'buy'"),
]


@pytest.fixture(scope="module")
def shop_files(artefact, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcp")
    return str(artefact("item_knn")), str(catalogue_file(folder)), str(histories_file(folder))


@pytest.fixture(scope="module")
def nobody(shop_files):
    return load_tools(shop_files[0], shop_files[1], {"stock": "left"}, 1, {})


def words(shop_files, *more):
    artefact, catalogue, histories = shop_files
    return [f"artefact={artefact}", f"catalogue={catalogue}", "columns.stock=left", f"histories={histories}", *more]


async def checked(client):
    """Checks that hold for every transport."""
    offered = (await client.list_tools()).tools
    assert [one.name for one in offered] == list(TOOL_NAMES)
    for one in offered:
        assert one.input_schema["additionalProperties"] is False
        assert one.output_schema["type"] == "object"
        assert not {"user", "customer", "history"} & set(one.input_schema["properties"])
        assert one.annotations.read_only_hint
    for name, arguments, reason in REFUSED:
        answer = await client.call_tool(name, arguments)
        assert answer.is_error
        assert reason in answer.content[0].text
    found = (await client.call_tool("search", {"text": "jacket", "k": 3})).structured_content
    assert len(found["items"]) == 3
    assert all(one["columns"]["in_stock"] for one in found["items"])


async def recommended(client):
    answer = await client.call_tool("recommend", {"k": 5})
    return answer.content[0].text if answer.is_error else [one["item"] for one in answer.structured_content["items"]]


def test_in_this_process(nobody):
    async def run():
        async with Client(create_mcp_server(lambda _: nobody)) as client:
            await checked(client)
            assert "talk to software" in client.instructions

    anyio.run(run)


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_every_function_answers_as_its_schema_says(nobody, name):
    arguments = {"search": {"text": "blue"}, "similar": {"item": "i06"}, "explain": {"item": "i00"},
                 "compare": {"items": ["i00", "i06"]}}.get(name, {})  # fmt: skip

    async def run():
        async with Client(create_mcp_server(lambda _: nobody)) as client:
            answer = await client.call_tool(name, arguments)  # the client validates it against the schema
            assert not answer.is_error
            assert json.loads(answer.content[0].text).keys() <= answer.structured_content.keys()

    anyio.run(run)


def test_a_mistake_of_ours_tells_a_client_nothing(nobody):
    from dataclasses import replace

    def broken(_):
        raise ZeroDivisionError("secret")

    async def run():
        async with Client(create_mcp_server(lambda _: replace(nobody, answer_request=broken))) as client:
            with pytest.raises(Exception) as error:
                await client.call_tool("recommend", {})
            assert "secret" not in str(error.value)

    anyio.run(run)


def test_the_customer_is_whom_the_header_names(nobody, shop_files):
    tools_of = select_tools_by_header(nobody, read_histories(shop_files[2]), "x-customer")
    assert tools_of({"x-customer": "u07"}).history == ("i01", "i02", "i08")
    assert tools_of({}).customer is None
    assert tools_of(None).customer is None
    assert select_tools_by_header(nobody, {"u07": ["i01"]}, None)({"x-customer": "u07"}).customer is None


@pytest.mark.slow
def test_over_stdio(shop_files):
    async def run():
        command = ["-W", "ignore", "-m", "recsys.cli.main", "mcp", *words(shop_files, "customer=u07")]
        with Path(os.devnull).open("w") as quiet:
            own = os.environ | {"PYTHONPATH": str(ROOT)}
            parameters = StdioServerParameters(command=sys.executable, args=command, env=own)
            async with Client(stdio_client(parameters, quiet)) as client:
                await checked(client)
                return await recommended(client)

    own = anyio.run(run)
    assert len(own) == 5


@asynccontextmanager
async def over_http(port, **headers):
    http = httpx2.AsyncClient(headers={"X-API-Key": KEY, **headers}, timeout=30)
    address = f"http://127.0.0.1:{port}/mcp"
    async with http, Client(streamable_http_client(address, http_client=http)) as client:
        yield client


@pytest.mark.slow
def test_over_http(shop_files):
    port = free_port()
    command = words(shop_files, "transport=http", f"port={port}", "customer_header=X-Customer")
    own = os.environ | {"PYTHONPATH": str(ROOT), "RECSYS_API_KEY": KEY}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "recsys.cli.main", "mcp", *command], env=own,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert waited(port) == 401  # without the key

        async def run():
            async with over_http(port) as client:
                await checked(client)
                nobodys = await recommended(client)
            async with over_http(port, **{"X-Customer": "u07"}) as client:
                first = await recommended(client)
            async with over_http(port, **{"X-Customer": "u11"}) as client:
                second = await recommended(client)
            async with over_http(port, **{"X-Customer": "u99"}) as client:
                unknown = await recommended(client)
            return nobodys, first, second, unknown

        nobodys, first, second, unknown = anyio.run(run)
        assert len({tuple(nobodys), tuple(first), tuple(second)}) == 3
        assert unknown == "the customer 'u99' is not known here"
        assert asked_from(port, "evil.example") == 421
    finally:
        process.terminate()
        process.wait(30)


def waited(port):
    """The status of a request without a key, as soon as the server is up."""
    for _ in range(600):
        try:
            urlopen(f"http://127.0.0.1:{port}/mcp", timeout=5)
        except HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    return None


def asked_from(port, host):
    """The status of a request from a foreign page whose host name points here (DNS rebinding)."""
    headers = {"Host": host, "X-API-Key": KEY, "Content-Type": "application/json", "Accept": "application/json"}
    try:
        urlopen(Request(f"http://127.0.0.1:{port}/mcp", b"{}", headers), timeout=30)
    except HTTPError as error:
        return error.code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["transport=carrier_pigeon"], "transport=carrier_pigeon is unknown; use stdio or http"),
        (["transport=http", "host=0.0.0.0"], "host=0.0.0.0 without a key"),
        (["transport=http", "customer_header=X-Customer"], "customer_header=X-Customer without a key"),
        (["customer=u99"], "customer=u99 is not a user in histories"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(shop_files, more, reason):
    own = {name: value for name, value in os.environ.items() if name != "RECSYS_API_KEY"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "recsys.cli.main", "mcp", *words(shop_files, *more)]
    done = subprocess.run(command, capture_output=True, text=True, env=own, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_dialogue_in_the_terminal(shop_files):
    command = [sys.executable, "-W", "ignore", "-m", "recsys.cli.main", "chat", *words(shop_files, "customer=u07")]
    own = os.environ | {"PYTHONPATH": str(ROOT)}
    said = "jacket\n\ncheaper\nwhy the first\nexplain i06\n"
    done = subprocess.run(command, input=said, capture_output=True, text=True, env=own, timeout=120)
    lines = done.stdout.splitlines()
    assert lines[0] == SOFTWARE
    assert any(line.startswith("For “jacket”, under ") for line in lines)
    assert lines[-1] == "'i06' (Kalrex Jacket) is out of stock, so it is not recommended; ask for similar products"
    assert done.stderr == ""
