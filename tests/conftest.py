"""Fixtures that many tests share: prepared datasets with a planted answer, and where public files lie."""

import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from recsys.data.dataset import Dataset
from recsys.data.features import Features
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Columns
from recsys.data.sources.files import FrameSource
from recsys.export.export import build_model_file, export_run
from recsys.run import Run
from recsys.training.train import train_run
from tests.composed import composed
from tests.contracts.test_models import made
from tests.customers import planted_customers
from tests.planted import planted_baskets, planted_items, planted_log, planted_mixed, planted_users, prepared
from tests.postgres import postgres_server  # noqa: F401 - a fixture

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Users on a ring of items, leave-one-out, seen items left out."""
    return prepared(tmp_path_factory.mktemp("planted"), planted_log())


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A shop with baskets and features, split by time, repeats ranked."""
    return prepared(
        tmp_path_factory.mktemp("shop"),
        FrameSource(planted_baskets(), planted_items(), planted_users()),
        GlobalTime(),
        columns=Columns(basket="basket"),
        features=Features(user=["age"], item=["aisle"], context=["hour"]),
        exclude_seen=False,
    )


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Views, carts and purchases, of which the purchases are predicted."""
    columns, folder = Columns(event="event"), tmp_path_factory.mktemp("mixed")
    return prepared(folder, planted_mixed(), columns=columns, target_events=["purchase"], exclude_seen=False)


@pytest.fixture(scope="session")
def artefact(shop: Dataset, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., Path]:
    """A function from a model's name, and whether users are known, to its file for the shop, exported once by
    whichever of the processes that run tests asks first.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "files"
    folder.mkdir(exist_ok=True)

    @cache
    def exported_once(name: str, users: bool = False) -> Path:
        about = {"model": name, "licence": None, "metrics": {}}
        path = folder / f"{name}_{users}.onnx"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                proto, _ = build_model_file(made(name, shop), shop, "float16", users, None, about)
                path.write_bytes(proto.SerializeToString())
        return path

    return exported_once


@pytest.fixture(scope="session")
def customers_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of planted customers."""
    path = tmp_path_factory.mktemp("log") / "events.parquet"
    planted_customers().to_parquet(path)
    return path


@pytest.fixture(scope="session")
def customers_run(customers_log: Path) -> Run:
    """A run trained on them, with its file."""
    config = composed(
        "data=parquet", f"data.path={customers_log}", f"data.folder={customers_log.parent}/data", "ks=[3]",
        "data.columns.money=paid",
        "split=global_time", "data.exclude_seen=false", "model=two_tower", "model.dim=8", "baselines=none",
        "trainer=debug", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    found = Run.create(customers_log.parent / "run", config)
    train_run(found)
    export_run(found, composed(f"run={found.folder}", name="export"))
    return found


@pytest.fixture
def public() -> Path:
    """The folder that RECSYS_DATA names; skips, saying so, where there is none."""
    root = os.environ.get("RECSYS_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("RECSYS_DATA names no folder of public data")
    return Path(root)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A driver of headless Chromium, which can load onnxruntime-web; skips, saying so, where that cannot be."""
    from tests.runtimes import INSTALL, RUNTIME

    webdriver = pytest.importorskip("selenium.webdriver", reason="the page is driven with selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver and RUNTIME.is_dir()):
        pytest.skip(f"needs chromium, chromedriver and `{INSTALL}`")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as found:
        found.set_script_timeout(60)
        yield found
