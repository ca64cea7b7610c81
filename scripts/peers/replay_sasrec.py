"""SASRec of RePlay 0.22: python scripts/peers/replay_sasrec.py events.parquet --steps 4"""

from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from peer_tools import StepClock, StopTraining, count_tokens_per_step, parse_settings

settings = parse_settings()

import lightning
import pandas as pd
from replay_model import ReplaySasrec

clock = StepClock(settings)
lightning.seed_everything(1)
events = pd.read_parquet(settings.events)
replay = ReplaySasrec(settings, int(events.item.max()), Path(mkdtemp()))
rows = events.assign(item=events.item - 1).groupby("user").item.agg(list)
rows = rows.rename("item_id").rename_axis("user_id").reset_index()
longest = int(rows.item_id.str.len().max())
module = replay.make_module()
with suppress(StopTraining):
    replay.fit(module, rows, max_epochs=100)
new = rows[:1].assign(user_id=10**9)
clock.print_figures(
    "RePlay", count_tokens_per_step(events, settings),
    lambda: replay.recommend(module, rows, longest, "all.parquet", 256), len(rows),
    lambda: replay.recommend(module, new, longest, "new.parquet", 1), settings.answers,
)  # fmt: skip
