"""The settings under `data`: where the events are, which of them are kept, and what models may use."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from recsys.data.features import Features
from recsys.data.preparation.consent import Privacy
from recsys.data.preparation.filters import Filters
from recsys.data.schema import Clock, Columns
from recsys.data.sources.files import Source


@dataclass(frozen=True)
class DataSettings:
    """What `prepare` and the commands that read a source need to know, as listed in configs/data/base.yaml.

    `refund_events` are types of events that take purchases back; `target_events` are the types to predict (None: all),
    the others are only part of histories. `exclude_seen` says whether rankings leave out items that the user already
    had. Prepared datasets are kept in `folder`, and users erased by `recsys forget` are listed there. `seed` shuffles
    rows inside baskets. Users, items and values of the dataset in the folder `vocabulary` keep their numbers, new ones
    are appended. DuckDB spills to disk beyond `memory`; if `spark` names a master, Spark prepares the data instead.
    """

    name: str
    source: Source
    columns: Columns = field(default_factory=Columns)
    clock: Clock = field(default_factory=Clock)
    refund_events: Sequence[str] = ()
    filters: Filters = field(default_factory=Filters)
    features: Features = field(default_factory=Features)
    privacy: Privacy = field(default_factory=Privacy)
    target_events: Sequence[str] | None = None
    exclude_seen: bool = True
    folder: str = "data"
    seed: int = 0
    vocabulary: str | None = None
    memory: str = "4GB"
    spark: str | None = None
