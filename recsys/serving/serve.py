"""From settings to a running server."""

import gc
import logging
import os
from pathlib import Path
from typing import Any

import uvicorn
from omegaconf import OmegaConf

from recsys.config.build import build
from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.model_file import Artefact
from recsys.serving.recommender import RequestError
from recsys.serving.schemas import Limits
from recsys.serving.telemetry import JsonLines
from recsys.serving.web_page import add_page


def serve(
    artefact: str,
    host: str,
    port: int,
    threads: int,
    api_key: str | None,
    watch: float | None,
    runtime: str,
    limits: dict[str, Any],
    parts: dict[str, Any],
) -> None:
    """Answer until told to stop: SIGTERM and SIGINT let requests under way end first. Raises ConfigError."""
    bounds = Limits(**limits)
    around = [build(OmegaConf.create(part)) for part in parts.values()]
    try:
        app = create_app(Artefact(Path(artefact), threads), bounds, api_key, watch, around)
    except (RequestError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    add_page(app, Path(runtime))
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
    logging.getLogger("recsys").info(
        "serving", extra={"artefact": artefact, "host": host, "port": port, "pid": os.getpid()}
    )
    gc.collect()
    gc.freeze()  # what stays for ever is not looked through again in the middle of a request
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=bounds.seconds,
        timeout_keep_alive=bounds.seconds,
    )
