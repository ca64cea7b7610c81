"""YAML → checked settings → objects."""

import warnings

from recsys.errors import ConfigError


def __getattr__(name: str) -> object:
    """`ConfigError` by its path of before, until the next release."""
    if name != "ConfigError":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    warnings.warn("recsys.config.ConfigError is now recsys.errors.ConfigError", DeprecationWarning, stacklevel=2)
    return ConfigError
