"""What one answer costs: the exported file compared with the bare network inside it, its precisions, its cold start.

The model is a SASRec of 64 dimensions, 2 blocks and 2 heads with random weights over a synthetic catalogue in clusters:
an answer costs as much as a trained model's. CPU time, one thread, histories of 50, lists of 10.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import torch
from torch import Tensor, nn

from recsys.apps.benchmark.timing import describe_load, time_in_turns
from recsys.data.dataset import Dataset
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.splits import LeaveOneOut
from recsys.data.settings import DataSettings
from recsys.data.sources.files import FrameSource
from recsys.export.export import build_model_file
from recsys.export.torch_graph import export_to_onnx
from recsys.models.base import DataSpec, ModelInputs
from recsys.models.layers.blocks import VanillaBlock
from recsys.models.sasrec import SASRec

LENGTH = 50
DIM = 64
RawIds = np.ndarray
PRECISIONS = ("float32", "float16", "int8")


class BareNetwork(nn.Module):
    """Scores of all items and nothing around them: item numbers as input, no filter, no list."""

    def __init__(self, model: SASRec) -> None:
        super().__init__()
        self.model = model

    def forward(self, history: Tensor) -> Tensor:
        """Returns (B, I) scores."""
        query = self.model.encode(ModelInputs({}, history, {}, {}).at_end())[:, 0]
        return query @ self.model.item_vectors().T


def measure(n_items: int, rounds: int, check_users: int) -> list[str]:
    """Returns lines with the CPU milliseconds of a call, and their ratios."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        dataset = make_catalogue(n_items, Path(folder))
        model = make_clustered_model(dataset)
        lines, sessions = [], {"bare": open_session(_export_bare(model))}
        for precision in PRECISIONS:
            proto, manifest = build_model_file(model, dataset, precision, False, check_users, {"model": "sasrec"})
            path = Path(folder) / f"{precision}.onnx"
            path.write_bytes(proto.SerializeToString())
            sessions[precision] = open_session(path.read_bytes())
            overlap = manifest["precision"]["overlap@10"]
            lines.append(f"{precision}: {path.stat().st_size / 2**20:.1f} MiB, top 10 overlap {overlap:.4f}")
        lines.append(
            f"cold start of float16, import + load + first answer: {measure_cold_start(path.parent):.2f} CPU-s"
        )
        for batch, times in ((1, rounds), (64, max(rounds // 10, 3))):
            spent = time_in_turns(_make_calls(sessions, dataset, batch), times)
            lines += [f"batch {batch}, {name}: {ms:.3f} CPU-ms" for name, ms in spent.items()]
            lines.append(f"batch {batch}, float16 ÷ bare: {spent['float16'] / spent['bare']:.2f}")
            lines.append(f"batch {batch}, int8 ÷ float32: {spent['int8'] / spent['float32']:.2f}")
    return [*lines, describe_load()]


def make_catalogue(n_items: int, folder: Path) -> Dataset:
    """Returns a dataset of that many items with raw ids of eleven characters, each bought at least once."""
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(n_items), rng.integers(n_items, size=20_000)])
    users = np.concatenate([rng.integers(n_items // 10 + 1, size=n_items), np.repeat(np.arange(1000), 20)])
    log = pd.DataFrame(
        {"user": users, "item": [f"item{item:07}" for item in items], "timestamp": np.arange(len(items))}
    )
    return prepare(DataSettings(name="made up", source=FrameSource(log), folder=str(folder)), LeaveOneOut())


def make_clustered_model(dataset: Dataset, max_history: int = LENGTH) -> SASRec:
    """Returns an untrained model whose items lie in √I clusters, as those of trained models do."""
    torch.manual_seed(0)
    spec = DataSpec.from_dataset(dataset, max_history)
    model = SASRec(spec, VanillaBlock, dim=DIM, relative_position=False, repeat=False).eval()
    model.max_history = max_history
    n = dataset.n_items
    centres = torch.randn(max(int(n**0.5), 2), DIM)
    with torch.no_grad():
        vectors = centres[torch.randint(len(centres), (n,))] + 0.5 * torch.randn(n, DIM)
        model.item_vectors()[1:].copy_(0.3 * vectors)
    return model


def measure_cold_start(folder: Path) -> float:
    """Returns the CPU seconds of a new process from its start to its first answer."""
    code = (
        "import resource; from recsys.serving.recommender import Recommender; "
        "Recommender('float16.onnx').recommend(['item0000001']); "
        "spent = resource.getrusage(resource.RUSAGE_SELF); print(spent.ru_utime + spent.ru_stime)"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"]
    processes = [subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True) for _ in range(5)]
    return float(np.median([float(process.stdout) for process in processes]))


def list_raw_ids(dataset: Dataset) -> RawIds:
    """Returns raw ids by item number, "" for padding."""
    return np.array(["", *dataset.raw_items().to_pylist()], object)


def make_request_arrays(history: RawIds) -> dict[str, np.ndarray]:
    """Returns the inputs of a file for histories of raw ids: ten items that are not among them."""
    return {
        "history": history,
        "k": np.array([10]),
        "exclude_seen": np.ones(len(history), bool),
        "deny": np.zeros((len(history), 0), object),
        "allow": np.zeros(0, object),
    }


def _export_bare(model: SASRec) -> bytes:
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    history = (torch.ones(3, 5, dtype=torch.long),)
    return export_to_onnx(BareNetwork(model), history, ["history"], (shape,)).SerializeToString()


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """Returns a session that computes on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _make_calls(
    sessions: dict[str, onnxruntime.InferenceSession], dataset: Dataset, batch: int
) -> dict[str, Callable[[], Any]]:
    numbers = np.random.default_rng(0).integers(1, dataset.n_items, (batch, LENGTH))
    feeds = make_request_arrays(list_raw_ids(dataset)[numbers])

    def call(name: str) -> Callable[[], Any]:
        return lambda: sessions[name].run(["items", "scores"], feeds)

    bare = {"bare": lambda: sessions["bare"].run(None, {"history": numbers})}
    return bare | {name: call(name) for name in PRECISIONS}
