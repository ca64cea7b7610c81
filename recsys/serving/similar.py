"""The command `recsys similar`."""

from recsys.errors import ConfigError
from recsys.serving.recommender import Recommender, RequestError


def similar(artefact: str, item: str | int, k: int) -> list[str]:
    """Return one line per item recommended after this one, with its score; raises ConfigError for an unknown item."""
    try:
        recommendation = Recommender(artefact).similar(str(item), k)
    except RequestError as error:
        raise ConfigError(str(error)) from error
    if recommendation.unknown:
        raise ConfigError(f"the file does not know item={item!r}; give a raw id of the event log")
    rows = zip(recommendation.items, recommendation.scores, strict=True)
    return [f"{score:9.4f}  {similar_item}" for similar_item, score in rows]
