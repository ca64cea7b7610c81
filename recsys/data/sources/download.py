"""Downloads a file once, completely or not at all."""

import hashlib
import tempfile
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

from tqdm import tqdm

from recsys.errors import DataError


def download_file(address: str, path: Path, md5: str | None = None) -> Path:
    """The file at `path`, downloaded from `address` unless it exists.

    Raises DataError, which says where to put the file by hand, if the download fails or stops early, or if its MD5 is
    not the publisher's `md5`.
    """
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=30) as response:
            _save(response, path, md5)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        relative = f"{path.parent.name}/{path.name}"
        remedy = f"download it yourself to '{path}', or set RECSYS_DATA to the folder that holds {relative}"
        raise DataError(f"'{path.name}' could not be downloaded from {address} ({error}); {remedy}") from error
    return path


def _save(response: HTTPResponse, path: Path, md5: str | None) -> None:
    size, digest = int(response.headers.get("Content-Length", 0)), hashlib.md5(usedforsecurity=False)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            with tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name, disable=None) as bar:
                while block := response.read(1 << 20):
                    file.write(block)
                    digest.update(block)
                    bar.update(len(block))
            if size and file.tell() != size:
                raise OSError(f"got {file.tell():,} of {size:,} bytes")
            if md5 and digest.hexdigest() != md5:
                raise OSError(f"its md5 is {digest.hexdigest()}, the publisher's file has {md5}; it was deleted")
            file.close()
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)
