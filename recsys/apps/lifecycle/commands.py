"""`recsys register` and `recsys rollback`: they change a registry without training anything."""

from collections.abc import Iterator

from recsys.apps.lifecycle.registry import CHAMPION, Registry, find_training_end
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.run import Run
from recsys.training.refit import select_learned_dataset


def register(run: str, registry: str, promote: bool) -> Iterator[str]:
    """Yields one line per change: adds a finished run, which becomes the champion if there is none or with `promote`.

    Raises ConfigError.
    """
    finished_run, versions = Run.open(run), Registry(registry)
    dataset = load_dataset(finished_run.config)
    training_end = find_training_end(select_learned_dataset(finished_run.config, dataset))
    with versions.lock() as work:
        about = {"how": "register", "from": str(run), "trained_until": training_end}
        version = versions.add(finished_run, dataset, about, work)
        yield f"{versions.folder / version}: {run}"
        if promote or versions.read_link(CHAMPION) is None:
            versions.switch_champion(version, "register")
            yield f"champion: {version}"


def rollback(registry: str, to: str | None) -> Iterator[str]:
    """Yields one line: makes the champion's predecessor, or version `to`, the champion again. Raises ConfigError."""
    versions = Registry(registry)
    versions.open_champion()
    with versions.lock():
        current, target = versions.read_link(CHAMPION), to or versions.find_predecessor()
        if not (versions.folder / target / "model.onnx").exists():
            raise ConfigError(f"'{versions.folder}' has no version {target} with a model.onnx")
        versions.switch_champion(target, "rollback")
    yield f"champion: {target}, before {current}"
