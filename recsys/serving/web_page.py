"""The web page at `/`: its files, onnxruntime-web, and the model file for browsers that recommend on the device."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from recsys.serving.app import check_api_key, get_server

FOLDER = Path(__file__).parent / "page"
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'"
INSTALL = "npm install --no-save --ignore-scripts onnxruntime-web"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

page_routes = APIRouter(include_in_schema=False)


def add_web_page(app: FastAPI, runtime: Path) -> None:
    """Add the page to an application; `runtime` is the folder of onnxruntime-web."""
    app.state.runtime = runtime
    app.include_router(page_routes)


@page_routes.get("/")
async def send_index(request: Request) -> Response:
    """Return the page."""
    return _send_file(request, FOLDER / "index.html")


@page_routes.get("/page/{name}")
async def send_page_file(request: Request, name: str) -> Response:
    """Return a file of the page: script, style or icon."""
    return _send_file(request, _find_file(FOLDER, name, "there is no such file"))


@page_routes.get("/runtime/{name}")
async def send_runtime_file(request: Request, name: str) -> Response:
    """Return a file of onnxruntime-web; 404 says how to install it."""
    folder: Path = request.app.state.runtime
    missing = f"'{folder}' has no {name}: run `{INSTALL}` where the server runs, or set runtime="
    return _send_file(request, _find_file(folder, name, missing))


@page_routes.get("/items", dependencies=[Depends(check_api_key)])
async def list_popular_items(request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 48) -> dict[str, list[str]]:
    """Return the items recommended to users without a history."""
    server = get_server(request)
    recommender = server.model_file.recommender
    recommendations = await server.batcher.answer(recommender, [(recommender.question(k=limit), [])])
    return {"items": recommendations[0].items}


@page_routes.get("/model.onnx", dependencies=[Depends(check_api_key)])
async def send_model_file(request: Request) -> Response:
    """Return the model file in use; 403 for a file with user ids or with tables in a second file."""
    model_file = get_server(request).model_file
    if model_file.has_changed():
        await model_file.reload()
    manifest = model_file.recommender.describe()
    if manifest["users"]:
        raise HTTPException(403, "the file holds user ids and stays on the server; export it with users=false")
    if manifest.get("beside"):
        raise HTTPException(403, "the tables of the file are in a second file of gigabytes, so it stays on the server")
    return _send_file(request, model_file.path)


def _send_file(request: Request, path: Path) -> Response:
    """Return a file, or status 304 if the browser has this version already."""
    response = StaticFiles().file_response(path, path.stat(), request.scope)
    response.headers.update(HEADERS)
    return response


def _find_file(folder: Path, name: str, missing: str) -> Path:
    """Return the path of a file directly in a folder; anything else is a 404 with the message `missing`."""
    paths = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    if name not in paths or not paths[name].is_file():
        raise HTTPException(404, missing)
    return paths[name]
