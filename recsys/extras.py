"""Optional dependencies: one place that names the distribution to install and the extra that brings a package."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points, version

from recsys.errors import ConfigError

NAME = "recsys-onnx"
"""the distribution's name where nothing is installed, such as in a checkout on PYTHONPATH"""


@cache
def distribution() -> str:
    """The name under which this package is installed: that of the distribution whose command `recsys` is ours."""
    scripts = entry_points(group="console_scripts", name="recsys")
    names = (script.dist.name for script in scripts if script.dist and script.value.startswith("recsys.cli"))
    return next(names, NAME)


def package_version() -> str:
    """The version of this package, from its installed metadata."""
    return version(distribution())


def install_command(extra: str) -> str:
    """The command that installs an extra, to be quoted in help and errors."""
    return f"pip install '{distribution()}[{extra}]'"


@contextmanager
def require_extra(name: str) -> Iterator[None]:
    """A context for imports of optional packages; ConfigError names the command that installs a missing one."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed; run: {install_command(name)}") from error
