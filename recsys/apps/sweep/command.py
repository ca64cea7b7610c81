"""`recsys sweep`: the entry point, which imports Optuna only when a sweep begins."""

from collections.abc import Iterator, Sequence

from omegaconf import DictConfig

from recsys.extras import require_extra


def sweep(config: DictConfig, words: Sequence[str]) -> Iterator[str]:
    """Yields the lines of `run_sweep`; ConfigError names the command that installs a missing package."""
    with require_extra("sweep"):
        from recsys.apps.sweep.sweep import run_sweep
    yield from run_sweep(config, words)
