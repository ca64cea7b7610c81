"""What MLflow and Weights & Biases are told, and that the run folder does not depend on them."""

import sys

import pytest

from recsys.errors import ConfigError
from recsys.run import Run
from recsys.training.fit import fit_model
from tests.composed import composed

SMALL = ["model=two_tower", "model.dim=4", "trainer.max_epochs=2", "trainer.enable_progress_bar=false", "ks=[3]"]


def trained(folder, dataset, *words):
    run = Run.create(folder, composed(*SMALL, *words))
    fit_model(run.config, dataset, run)
    return run


@pytest.fixture
def client(tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.slow  # for what it imports
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning", "ignore::ResourceWarning")
def test_mlflow_has_a_run_with_legal_names_and_the_configuration(dataset, tmp_path, client):
    words = ["logger=mlflow", f"logger.mlflow.uri=sqlite:///{tmp_path}/mlflow.db"]
    run = trained(tmp_path / "run", dataset, *words)
    (experiment,) = client.search_experiments(filter_string="name = 'recsys'")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == str(run.folder)
    assert found.info.status == "FINISHED"
    assert found.data.params["model/dim"] == "4"
    best = max(one.value for one in client.get_metric_history(found.info.run_id, "val/ndcg_10"))
    assert best == pytest.approx(run.read_json("training")["best"])
    fit_model(run.config, dataset, run)  # goes on, and ends at once
    assert len(client.search_runs([experiment.experiment_id])) == 1


@pytest.mark.slow
def test_wandb_offline_needs_no_account_and_stays_in_the_run_folder(dataset, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("first", "second"):
        run = trained(tmp_path / name, dataset, "logger=wandb", "logger.wandb.offline=true")
        (file,) = run.folder.glob("wandb/offline-run-*/run-*.wandb")
        content = file.read_bytes()
        assert b"ndcg@10" in content
        assert b"recsys.models.two_tower.TwoTower" in content
        assert wandb.run is None


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_named(name, dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"recsys-onnx\[{name}\]"):
        trained(tmp_path / "run", dataset, f"logger={name}")
