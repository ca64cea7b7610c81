"""Fetches a file once, completely or not at all."""

import tempfile
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

from tqdm import tqdm

from recsys.data.schema import DataError


def fetch(address: str, path: Path) -> Path:
    """The file at `path`, downloaded from `address` unless it is there; DataError says where to put it by
    hand if the download fails or stops short.
    """
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=30) as response:
            _save(response, path)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        here = f"{path.parent.name}/{path.name}"
        remedy = f"download it yourself to '{path}', or set RECSYS_DATA to the folder that holds {here}"
        raise DataError(f"'{path.name}' could not be fetched from {address} ({error}); {remedy}") from error
    return path


def _save(response: HTTPResponse, path: Path) -> None:
    size = int(response.headers.get("Content-Length", 0))
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            with tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name) as bar:
                while block := response.read(1 << 20):
                    file.write(block)
                    bar.update(len(block))
            if size and file.tell() != size:
                raise OSError(f"got {file.tell():,} of {size:,} bytes")
            file.close()
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)
