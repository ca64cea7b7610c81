"""A PostgreSQL server of our own, where its programs are installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def binaries() -> Path | None:
    """The folder of the server's programs."""
    found = shutil.which("pg_ctl") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))[::-1]), None)
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL, on a free port of loopback; run by nobody in particular, its password is "sesame"."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed: no pg_ctl in PATH or /usr/lib/postgresql")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-"))  # a socket's path must be short
    owner = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)

    def run(program: str, *words: str | Path) -> None:
        who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        with (tmp_path_factory.getbasetemp() / "postgres.log").open("a") as out:
            subprocess.run([programs / program, *words], check=True, cwd=folder, stdout=out, stderr=out, **who)

    (folder / "password").write_text("sesame")
    (folder / "password").chmod(0o644)
    data = folder / "data"
    run("initdb", "-D", data, "-U", "ali", "--auth=scram-sha-256", "--pwfile", folder / "password", "-E", "UTF8", "-N")
    run("pg_ctl", "-D", data, "-w", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -F", "start")
    try:
        yield f"postgresql://ali:sesame@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)
