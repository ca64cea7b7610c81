"""YAML → checked settings → objects."""

import warnings

from recsys import errors


def __getattr__(name: str) -> object:
    """`ConfigError` by its old path, which users' own code may import until the next release."""
    if name != "ConfigError":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    warnings.warn("recsys.config.ConfigError is now recsys.errors.ConfigError", DeprecationWarning, stacklevel=2)
    return errors.ConfigError
