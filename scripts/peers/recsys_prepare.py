"""What preparing a log costs here: python scripts/peers/recsys_prepare.py log.parquet FOLDER MEMORY

The same arrays as `pandas_prepare.py`, from the same columns, in a process that trains nothing; FOLDER is made anew.
"""

import json
import resource
import shutil
import sys
import time

from recsys.config import build, composed

log, folder, memory = sys.argv[1:]
shutil.rmtree(folder, ignore_errors=True)
names = [f"data.columns.{name}={name}" for name in ("user", "item", "timestamp")]
words = ["data=parquet", f"data.path={log}", *names, f"data.folder={folder}", f"data.memory={memory}"]
config = composed("train", *words, "split=leave_one_out")
dataset = build(config.data, split=build(config.split))
found = {
    "name": f"recsys, data.memory={memory}",
    "events": len(dataset.items),
    "prepare_cpu_s": round(time.process_time(), 2),
    "prepare_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}
sys.stdout.write(json.dumps(found) + "\n")
