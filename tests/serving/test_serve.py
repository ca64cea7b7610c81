"""`recsys serve` as a process, and generated requests, valid and invalid, against its OpenAPI schema."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from recsys.serving.app import create_app
from recsys.serving.middleware.sessions import in_memory
from recsys.serving.model_file import ModelFile
from recsys.serving.schemas import ServerLimits

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_anybody_sends_is_answered_as_the_schema_says(mode, artefact):
    app = create_app(ModelFile(artefact("two_tower"), 1), ServerLimits(), middleware=[in_memory()])
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        if mode is GenerationMode.NEGATIVE and not found.ok().body:
            continue  # takes nothing that could be wrong

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(found.ok().as_strategy(generation_mode=mode))
        def check(case):
            # valid by the schema may still be rejected: only the file knows which columns exist
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        check()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def command(*words):
    return [sys.executable, "-W", "ignore", str(ROOT / "scripts/serve.py"), *words]


@pytest.fixture
def server(artefact):
    port = free_port()
    words = command(f"artefact={artefact('sasrec')}", f"port={port}", "watch=null")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True)
    reader.start()
    for _ in range(200):
        if any("Uvicorn running" in line for line in lines) or process.poll() is not None:
            break
        time.sleep(0.1)
    yield process, f"http://127.0.0.1:{port}", lines, reader
    process.kill()
    process.wait()
    reader.join()
    process.stderr.close()


def post(address, body):
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_command_answers_and_ends_when_told_to(server):
    process, address, lines, reader = server
    found = post(f"{address}/recommend", {"history": ["i03"], "k": 3})
    assert len(found["items"]) == 3
    answers = []
    late = threading.Thread(target=lambda: answers.append(post(f"{address}/recommend", [{"k": 40}] * 200)))
    late.start()
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    late.join()
    assert process.wait(30) == -signal.SIGTERM
    assert len(answers[0]) == 200
    reader.join()
    assert "Finished server process" in lines[-1]
    said = [json.loads(line) for line in lines]
    assert said[0]["message"] == "serving"
    assert any(line.get("path") == "/recommend" and line["status"] == 200 for line in said)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "artefact is not set; write artefact=VALUE"),
        (["artefact=nothing.onnx"], "there is no file 'nothing.onnx'"),
        (["artefact=README.md"], "'README.md' is not a model that this runtime can read"),
        (["artefact=model.onnx", "prot=80"], "prot"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(words, reason):
    done = subprocess.run(command(*words), capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_serving_never_imports_torch():
    code = (
        "import sys, recsys.serving.serve; sys.exit(bool({'torch', 'pandas', 'pytorch_lightning'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
