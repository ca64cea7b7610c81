"""Starts the HTTP server with its settings."""

import gc
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import Middleware, ServerLimits
from recsys.serving.telemetry import JsonFormatter
from recsys.serving.web_page import add_web_page


def serve(
    artefact: str,
    host: str,
    port: int,
    threads: int,
    api_key: str | None,
    watch: float | None,
    runtime: str,
    limits: dict[str, Any],
    parts: Mapping[str, Middleware],
) -> None:
    """Serve a model file until SIGTERM or SIGINT, which let open requests finish; raises ConfigError.

    Settings as in configs/serve.yaml; `parts` holds the middleware, outermost first.
    """
    server_limits = ServerLimits(**limits)
    try:
        app = create_app(ModelFile(Path(artefact), threads), server_limits, api_key, watch, list(parts.values()))
    except (RequestError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    add_web_page(app, Path(runtime))
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
    logging.getLogger("recsys").info(
        "serving", extra={"artefact": artefact, "host": host, "port": port, "pid": os.getpid()}
    )
    gc.collect()
    gc.freeze()  # long-lived objects are not scanned again while requests are answered
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=server_limits.seconds,
        timeout_keep_alive=server_limits.seconds,
    )
