"""The page at `/`: its files, the runtime it loads, and the file itself for those who ask on their own device."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from recsys.serving.app import check_key, server_of

FOLDER = Path(__file__).parent / "page"
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'"
INSTALL = "npm install --no-save --ignore-scripts onnxruntime-web"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

page = APIRouter(include_in_schema=False)


def add_page(app: FastAPI, runtime: Path) -> None:
    """Give an app the page, which loads onnxruntime-web from the folder `runtime`."""
    app.state.runtime = runtime
    app.include_router(page)


@page.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _sent(request, FOLDER / "index.html")


@page.get("/page/{name}")
async def part(request: Request, name: str) -> Response:
    """A file of the page."""
    return _sent(request, _inside(FOLDER, name, "there is no such file"))


@page.get("/runtime/{name}")
async def runtime(request: Request, name: str) -> Response:
    """A file of onnxruntime-web."""
    folder: Path = request.app.state.runtime
    missing = f"'{folder}' has no {name}: run `{INSTALL}` where the server runs, or set runtime="
    return _sent(request, _inside(folder, name, missing))


@page.get("/items", dependencies=[Depends(check_key)])
async def items(request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 48) -> dict[str, list[str]]:
    """What somebody without a history would be recommended."""
    server = server_of(request)
    recommender = server.artefact.recommender
    found = await server.batcher.ask(recommender, [(recommender.question(k=limit), [])])
    return {"items": found[0].items}


@page.get("/model.onnx", dependencies=[Depends(check_key)])
async def model(request: Request) -> Response:
    """The file that answers, for browsers; never one that holds user ids."""
    artefact = server_of(request).artefact
    if artefact.is_stale():
        await artefact.reload()
    said = artefact.recommender.describe()
    if said["users"]:
        raise HTTPException(403, "the file holds user ids and stays on the server; export it with users=false")
    if said.get("beside"):
        raise HTTPException(403, "the file has tables of gigabytes beside it and stays on the server")
    return _sent(request, artefact.path)


def _sent(request: Request, path: Path) -> Response:
    """A file, or 304 to a browser that has it already."""
    response = StaticFiles().file_response(path, path.stat(), request.scope)
    response.headers.update(HEADERS)
    return response


def _inside(folder: Path, name: str, missing: str) -> Path:
    """A file of a folder; 404 for what is not one of its own files."""
    known = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    if name not in known or not known[name].is_file():
        raise HTTPException(404, missing)
    return known[name]
