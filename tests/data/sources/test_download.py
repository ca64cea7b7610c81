"""A download is whole or absent. The server listens on loopback only."""

import gc
import hashlib
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from recsys.data.sources.download import download_file
from recsys.errors import DataError

CONTENT = bytes(range(256)) * 10_000


class Handler(BaseHTTPRequestHandler):
    """/whole, /short (stops early), /chunked (stops inside a chunk), /unsized, all else is missing."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        if self.path not in ("/whole", "/short", "/chunked", "/unsized"):
            self.send_error(404)
            return
        self.protocol_version = "HTTP/1.1" if self.path == "/chunked" else "HTTP/1.0"
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = {"/short": CONTENT[:1000], "/chunked": b"fffff\r\n" + CONTENT[:1000]}.get(self.path, CONTENT)
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()
    gc.collect()  # a socket left open shows here, not in another test


@pytest.mark.parametrize("page", ["whole", "unsized"])
def test_a_whole_file_arrives_once(server, tmp_path, page):
    path = tmp_path / "deep" / "file.zip"
    assert download_file(f"{server}/{page}", path) == path
    assert path.read_bytes() == CONTENT
    assert download_file(f"{server}/{page}", path) == path
    assert Handler.asked == [f"/{page}"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("page", ["short", "chunked", "none"])
def test_what_stops_short_leaves_nothing_and_says_where_to_put_it(server, tmp_path, page):
    path = tmp_path / "set" / "file.zip"
    with pytest.raises(DataError) as found:
        download_file(f"{server}/{page}", path)
    for part in ("file.zip", f"{server}/{page}", str(path), "RECSYS_DATA", "set/file.zip"):
        assert part in str(found.value)
    assert list(path.parent.iterdir()) == []


def test_a_short_read_tells_how_much_came(server, tmp_path):
    with pytest.raises(DataError, match="got 1,000 of 2,560,000 bytes"):
        download_file(f"{server}/short", tmp_path / "file.zip")


def test_a_file_with_the_publishers_sum_is_kept(server, tmp_path):
    path = download_file(f"{server}/whole", tmp_path / "file.zip", hashlib.md5(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("page", ["whole", "unsized"])
def test_a_file_with_another_sum_is_deleted(server, tmp_path, page):
    found = hashlib.md5(CONTENT).hexdigest()
    with pytest.raises(
        DataError, match=f"its md5 is {found}, the publisher's file has 0123; it was deleted.*RECSYS_DATA"
    ):
        download_file(f"{server}/{page}", tmp_path / "file.zip", "0123")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_the_old_state(server, tmp_path, monkeypatch):
    def interrupted(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("http.client.HTTPResponse.read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download_file(f"{server}/whole", tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


def test_without_network(tmp_path, monkeypatch):
    def refused(*arguments, **settings):
        raise urllib.request.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refused)
    with pytest.raises(
        DataError, match=r"'file.zip' could not be downloaded from http://x.invalid/f .*no route to host"
    ):
        download_file("http://x.invalid/f", tmp_path / "file.zip")
