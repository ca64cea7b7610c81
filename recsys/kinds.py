"""The old path of `recsys.config.types`, which models of users may import; goes with the next release."""

import warnings

from recsys.config.types import AtLeast as AtLeast
from recsys.config.types import Natural as Natural
from recsys.config.types import Positive as Positive

warnings.warn("recsys.kinds is now recsys.config.types", DeprecationWarning, stacklevel=2)
