"""Writes the events before the test part of a prepared dataset for the other libraries: columns user, item, time.

python scripts/peers/events.py data/movielens_1m_pairs-… events.parquet
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

folder = Path(sys.argv[1])
items, offsets, split = (np.load(folder / f"{name}.npy") for name in ("items", "offsets", "split"))
users = np.repeat(np.arange(len(split)), np.diff(offsets))
positions = np.arange(len(items))
before = positions < split[users, 1]
events = pd.DataFrame({"user": users[before] + 1, "item": items[before], "time": positions[before]})
events.to_parquet(sys.argv[2], index=False)
print(f"{len(events):,} events of {events.user.nunique():,} users, {events.item.nunique():,} items")  # noqa: T201
