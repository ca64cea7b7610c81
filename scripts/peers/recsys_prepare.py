"""What preparing a log costs with recsys: python scripts/peers/recsys_prepare.py log.parquet FOLDER MEMORY

Writes the same arrays as `pandas_prepare.py`, from the same columns, in a process that trains nothing. Data that an
earlier run prepared in FOLDER are deleted first.
"""

import shutil
import sys
from pathlib import Path

from peer_tools import print_preparation

from recsys.config.build import build
from recsys.config.settings import compose_settings
from recsys.data.preparation.prepare import prepare

log, folder, memory = sys.argv[1:]
for earlier in Path(folder).glob("parquet-*"):
    shutil.rmtree(earlier)
names = [f"data.columns.{name}={name}" for name in ("user", "item", "timestamp")]
words = ["data=parquet", f"data.path={log}", *names, f"data.folder={folder}", f"data.memory={memory}"]
config = compose_settings("train", *words, "split=leave_one_out")
dataset = prepare(build(config.data), build(config.split))
print_preparation(f"recsys, data.memory={memory}", len(dataset.items))
