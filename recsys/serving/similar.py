"""What goes with one item, from an exported file."""

from recsys.errors import ConfigError
from recsys.serving.recommender import Recommender, RequestError


def similar(artefact: str, item: str | int, k: int) -> list[str]:
    """A line for each of the k items that the file recommends after this one; ConfigError if it does not know it."""
    try:
        found = Recommender(artefact).similar(str(item), k)
    except RequestError as error:
        raise ConfigError(str(error)) from error
    if found.unknown:
        raise ConfigError(f"the file does not know item={item!r}; raw ids are those of the log")
    return [f"{score:9.4f}  {other}" for other, score in zip(found.items, found.scores, strict=True)]
