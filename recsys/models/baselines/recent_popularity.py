"""Recent popularity: the same list for every user, the most frequent items of recent weeks first."""

from recsys.models.base import DataSpec
from recsys.models.baselines.popularity import Popularity


class RecentPopularity(Popularity):
    """Scores each item by its events, whose weight halves every `half_life` days before the newest event.

    Without times all events weigh the same.
    """

    def __init__(self, spec: DataSpec, half_life: float = 30) -> None:
        super().__init__(spec)
        self.half_life = half_life if spec.has_time else None
