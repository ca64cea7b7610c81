"""SASRec of RePlay 0.22: python scripts/peers/replay_sasrec.py events.parquet --steps 4"""

from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from measured import Clock, Enough, settings, tokens_a_step

chosen = settings()

import lightning
import pandas as pd
from replay_parts import Parts

clock = Clock(chosen)
lightning.seed_everything(1)
events = pd.read_parquet(chosen.events)
parts = Parts(chosen, int(events.item.max()), Path(mkdtemp()))
rows = events.assign(item=events.item - 1).groupby("user").item.agg(list)
rows = rows.rename("item_id").rename_axis("user_id").reset_index()
longest = int(rows.item_id.str.len().max())
module = parts.sasrec()
with suppress(Enough):
    parts.fit(module, rows, max_epochs=100)
new = rows[:1].assign(user_id=10**9)
clock.line(
    "RePlay", tokens_a_step(events, chosen),
    lambda: parts.recommend(module, rows, longest, "all.parquet", 256), len(rows),
    lambda: parts.recommend(module, new, longest, "new.parquet", 1), chosen.answers,
)  # fmt: skip
