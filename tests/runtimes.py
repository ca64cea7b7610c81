"""A server in this process that records its requests, and random requests of every form."""

import threading
import time
from pathlib import Path

import numpy as np
import uvicorn

from recsys.export.export import build_model_file
from recsys.serving.app import create_app
from recsys.serving.model_file import ModelFile
from recsys.serving.schemas import ServerLimits
from recsys.serving.web_page import add_web_page
from tests.contracts.test_models import made

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / "node_modules/onnxruntime-web/dist"
INSTALL = "npm install --no-save --ignore-scripts onnxruntime-web onnxruntime-node"
NOW = 1_700_000_000


def planted_file(folder, name, data, *words, users=False):
    """Export an untrained model and return the path of the file."""
    proto, _ = build_model_file(made(name, data, *words), data, "float16", users, None, {"model": name})
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


class Serving:
    """`with Serving(path) as served`: the app at `served.url`, and in `served.asked` the path of every request and
    its body.
    """

    def __init__(self, path, runtime=RUNTIME, api_key=None, middleware=()):
        self._app = create_app(ModelFile(path, 1), ServerLimits(), api_key, middleware=middleware)
        add_web_page(self._app, runtime)
        config = uvicorn.Config(self._recorded, port=0, log_config=None, lifespan="off", ws="none", interface="asgi3")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self.asked = []

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/"
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()

    async def _recorded(self, scope, receive, send):
        async def heard():
            message = await receive()
            self.asked.append((scope["path"], message.get("body", b"").decode()))
            return message

        self.asked.append((scope["path"], ""))
        await self._app(scope, heard, send)


def random_questions(described, items, n=100):
    """Questions of every kind about a file that describes itself so."""
    rng = np.random.default_rng(0)
    return [_question(rng, described["inputs"], [*items, "?", "ü", ""]) for _ in range(n)]


def _question(rng, inputs, ids):
    history = rng.choice(ids, rng.integers(0, 30)).tolist()
    columns = {
        "timestamp": NOW + int(rng.integers(10**6)),
        "history_timestamp": [None, sorted((NOW - rng.integers(0, 10**7, len(history))).tolist())][rng.integers(2)],
        "history_event": [None, rng.choice(["view", "cart", "purchase"], len(history)).tolist()][rng.integers(2)],
        "age": [None, 20, 33.5][rng.integers(3)],
        "tags": [None, [], "t0", ["t1", "?"], ["t0", "t1", "t2", "t0"]][rng.integers(5)],
    }
    return {
        "history": history,
        "user": {name: columns[name] for name in ("age", "tags") if name in inputs},
        "context": {name: columns[name] for name in columns if name in inputs and name not in ("age", "tags")},
        "k": int(rng.integers(1, 12)),
        "exclude_seen": [None, True, False][rng.integers(3)],
        "deny": rng.choice(ids, rng.integers(0, 4)).tolist(),
        "allow": rng.choice(ids, 6).tolist() if rng.random() < 0.3 else None,
    }
