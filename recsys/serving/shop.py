"""The page at `/`: its files, the runtime it loads, and the file itself for those who ask on their own device."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response

from recsys.serving.app import check_key, server_of

FOLDER = Path(__file__).parent / "page"
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

page = APIRouter(include_in_schema=False)


@page.get("/")
async def index() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


@page.get("/page/{name}")
async def part(name: str) -> FileResponse:
    """A file of the page."""
    return FileResponse(_inside(FOLDER, name, "there is no such file"), headers=HEADERS)


@page.get("/runtime/{name}")
async def runtime(request: Request, name: str) -> FileResponse:
    """A file of onnxruntime-web."""
    folder: Path = request.app.state.runtime
    missing = f"'{folder}' has no {name}: run `npm install onnxruntime-web` where the server runs, or set runtime="
    return FileResponse(_inside(folder, name, missing), headers=HEADERS)


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
    if artefact.recommender.describe()["users"]:
        raise HTTPException(403, "the file holds user ids and stays on the server; export it with users=false")
    return FileResponse(artefact.path, media_type="application/octet-stream", headers=HEADERS)


def _inside(folder: Path, name: str, missing: str) -> Path:
    """A file of a folder; 404 for what is not one of its own files."""
    known = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    if name not in known or not known[name].is_file():
        raise HTTPException(404, missing)
    return known[name]
