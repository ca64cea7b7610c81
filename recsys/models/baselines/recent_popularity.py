"""The same list for everybody: what is taken most these days."""

from recsys.models.base import DataSpec
from recsys.models.baselines.popularity import Popularity


class RecentPopularity(Popularity):
    """Counts of events, each halved in weight every `half_life` days before the end (without times: not)."""

    def __init__(self, spec: DataSpec, half_life: float = 30) -> None:
        super().__init__(spec)
        self.half_life = half_life if spec.has_time else None
