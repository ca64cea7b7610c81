"""`recsys register` and `recsys rollback`: what changes a registry without learning."""

from collections.abc import Iterator

from recsys.apps.lifecycle.registry import CHAMPION, Registry, trained_until
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.run import Run
from recsys.training.refit import select_learned_dataset


def register(run: str, registry: str, promote: bool) -> Iterator[str]:
    """Add a finished run; it becomes the champion if there is none, or with `promote`. Raises ConfigError."""
    found, shelf = Run.open(run), Registry(registry)
    dataset = load_dataset(found.config)
    until = trained_until(select_learned_dataset(found.config, dataset))
    with shelf.locked() as work:
        about = {"how": "register", "from": str(run), "trained_until": until}
        name = shelf.add(found, dataset, about, work)
        yield f"{shelf.folder / name}: {run}"
        if promote or shelf.named(CHAMPION) is None:
            shelf.switch(name, "register")
            yield f"champion: {name}"


def rollback(registry: str, to: str | None) -> Iterator[str]:
    """Let the champion's predecessor, or version `to`, serve again. Raises ConfigError."""
    shelf = Registry(registry)
    shelf.champion()
    with shelf.locked():
        now, back = shelf.named(CHAMPION), to or shelf.previous()
        if not (shelf.folder / back / "model.onnx").exists():
            raise ConfigError(f"'{shelf.folder}' has no version {back} with a model.onnx")
        shelf.switch(back, "rollback")
    yield f"champion: {back}, before {now}"
