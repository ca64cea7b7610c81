"""The exported file compared with torch and Python; what export refuses, and what it leaves behind."""

import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from unittest import mock
from zoneinfo import ZoneInfo

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.cli.main import run_command
from recsys.data.features import Features, derive_time_feature
from recsys.data.load import load_dataset
from recsys.data.schema import Clock
from recsys.errors import ConfigError
from recsys.export import scoring
from recsys.export.check import CheckError, RequestSender, _compare
from recsys.export.export import build_model_file, export_run, read_raw_ids
from recsys.export.graph import RawIds, compose_graph
from recsys.export.inputs import CalendarEncoder
from recsys.export.precision import drop_users, round_tables
from recsys.export.reference import CheckRequest, RandomRequests, TorchReference
from recsys.run import Run
from recsys.serving.recommender import Recommendation, Recommender, RequestError
from recsys.training.train import train_run
from tests.composed import MODELS, TRAINABLE, composed
from tests.contracts.test_models import made
from tests.planted import planted_log, prepared

HISTORY = 20
KINDS = ("ease", "ncf", "sasrec")
"""sums of rows, a network, a dot product: the other models are scored in one of these ways too"""
ROOT = Path(__file__).parents[2]


@cache
def file_of(name, data, precision="float16", users=False):
    """The checked file of a model by name, and its manifest."""
    return written(made(name, data), data, precision, users)


def written(model, data, precision="float16", users=False):
    """The checked file of a fitted model, and its manifest."""
    proto, manifest = build_model_file(model, data, precision, users, None, {"model": "any"})
    return proto.SerializeToString(), manifest


@pytest.fixture(scope="module")
def sasrec_file(shop):
    return file_of("sasrec", shop)[0]


@pytest.mark.parametrize(
    "name", [name if name in KINDS else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_every_model_holds_the_check(name, shop):
    """The check compares scores and lists with torch for many requests, and metrics on all test users."""
    content, manifest = file_of(name, shop)
    assert manifest["precision"]["overlap@10"] > 0.99
    assert manifest["precision"]["n_users"] > 10
    Recommender(content).self_test()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("data", ["dataset", "mixed"])
def test_every_model_holds_the_check_on_other_data(name, data, request):
    data = request.getfixturevalue(data)
    file_of(name, data)


WORDS = [
    ("sasrec", "block@model.block=ligr"), ("sasrec", "model.tied=false"), ("two_tower", "model.attention=true"),
    ("two_tower", "model.recency=[]"), ("two_tower", "model.time_bias=true"),
    ("sasrec", "model.relative_position=true"), ("sasrec", "model.time_bias=true"), ("ncf", "model.history=false"),
    ("two_tower", "model.user_id=true"), ("item_knn", "model.half_life=3"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "word"), WORDS)
@pytest.mark.parametrize("users", [False, True])
def test_variants_hold_the_check(name, word, users, mixed):
    written(made(name, mixed, word), mixed, users=users)


@pytest.mark.parametrize("name", [pytest.param("sasrec", marks=pytest.mark.slow), "two_tower"])
def test_eight_bits_choose_candidates_and_scores_stay_exact(name, shop, monkeypatch):
    monkeypatch.setattr(scoring, "CANDIDATES", 8)
    content, manifest = written(made(name, shop), shop, "int8")
    assert manifest["precision"]["tables"] == "int8"
    tensors = onnx.load_from_string(content).graph.initializer
    assert any(tensor.data_type == onnx.TensorProto.UINT8 for tensor in tensors)


@pytest.mark.parametrize(
    ("precision", "kind"), [("float16", "FLOAT16"), pytest.param("float32", "FLOAT", marks=pytest.mark.slow)]
)
def test_the_item_matrix_is_stored_once(precision, kind, shop):
    content, _ = file_of("two_tower", shop, precision)
    tables = [t for t in onnx.load_from_string(content).graph.initializer if list(t.dims)[:1] == [shop.n_items + 1]]
    wide = [tensor for tensor in tables if len(tensor.dims) == 2 and tensor.dims[1] > 1]
    assert [onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in wide] == [kind]


def test_eight_bits_fall_back_where_scores_are_no_product(shop):
    assert file_of("ease", shop, "int8")[1]["precision"]["tables"] == "float16"


@pytest.mark.slow
def test_only_inputs_that_the_model_uses_are_asked_for(dataset, shop, mixed):
    plain = {"history", "k", "exclude_seen", "deny", "allow"}
    assert set(file_of("sasrec", dataset)[1]["inputs"]) == plain
    assert set(file_of("popularity", mixed)[1]["inputs"]) == plain | {"history_event"}
    assert set(file_of("two_tower", shop)[1]["inputs"]) == plain | {
        "age",
        "timestamp",
        "history_timestamp",
    }


@pytest.mark.slow
def test_no_raw_user_is_in_a_file_without_users_and_rows_of_users_neither(shop):
    model = made("ncf", shop)
    hidden, shown = file_of("ncf", shop)[0], file_of("ncf", shop, users=True)[0]
    assert b"u07" not in hidden
    assert b"u07" in shown
    rows = [tuple(t.dims) for t in onnx.load_from_string(hidden).graph.initializer]
    assert (shop.n_users + 1, 2 * model.dim) not in rows
    found = Recommender(shown).recommend(["i03"], user="u07"), Recommender(shown).recommend(["i03"], user="u08")
    assert found[0].scores != found[1].scores


def test_unseen_views_may_be_recommended_and_purchases_not(mixed):
    file = Recommender(file_of("popularity", mixed)[0])
    types = {"history_event": ["view", "purchase", "cart"]}
    found = file.recommend(["i01", "i02", "i03"], context=types, k=30, exclude_seen=True)
    assert "i02" not in found.items
    assert {"i01", "i03"} <= set(found.items)
    # events without a type count as purchases
    assert file.recommend(["i01"], exclude_seen=True).items == file.recommend([], deny=["i01"]).items


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mixed_requests_are_answered_as_by_torch(seed, shop, sasrec_file):
    raw_ids = read_raw_ids(shop, False)
    stored = round_tables(drop_users(made("sasrec", shop)), shop.n_items, "float16")
    reference, drawn = TorchReference(stored, shop, raw_ids, HISTORY), RandomRequests(shop, raw_ids, HISTORY, seed)
    sender, allow = RequestSender(Recommender(sasrec_file)), drawn.draw_allowed()
    requests = [drawn.draw() for _ in range(int(drawn.rng.integers(1, 9)))]
    for request, found in zip(requests, sender.send(requests, 7, allow), strict=True):
        _compare(found, reference.scores(request, allow), reference.item_numbers, 7, exact=True)
        assert not set(found.items) & set(request.deny)
        assert allow is None or set(found.items) <= set(allow)
        assert not request.exclude_seen or not set(found.items) & set(request.history)


def feeds(history, k=3, allow=(), **more):
    rows, width = len(history), max(map(len, history), default=0)
    text = np.full((rows, width), "", object)
    for row, ids in enumerate(history):
        text[row, : len(ids)] = ids
    return {
        "history": text, "k": np.array([k]), "exclude_seen": np.ones(rows, bool), "allow": np.array(allow, object),
        "deny": np.full((rows, 0), "", object), "history_timestamp": np.full((rows, width), 1_700_000_000),
        "timestamp": np.full(rows, 1_700_100_000), **more,
    }  # fmt: skip


def test_the_bare_file_pads_anywhere_and_answers_nothing_at_all(sasrec_file, shop):
    session = onnxruntime.InferenceSession(sasrec_file)
    items, _, known, vector = session.run(
        ["items", "scores", "known", "user_vector"],
        feeds([["i03", "i05", "", ""], ["", "i03", "", "i05"], ["", "", "i03", "i05"]]),
    )
    assert (items == items[0]).all()
    assert known.tolist() == [2, 2, 2]
    np.testing.assert_allclose(vector, vector[:1].repeat(3, 0), rtol=1e-4, atol=1e-6)
    assert session.run(["items"], feeds([[]]))[0].shape == (1, 3)
    assert session.run(["items", "user_vector"], feeds([["i03"]], k=0))[0].shape == (1, 0)
    many = session.run(["items", "scores"], feeds([["i03"]], k=500))
    assert many[0].shape == (1, 500)
    assert (many[0][0] != "").sum() == shop.n_items - 1 == np.isfinite(many[1]).sum()
    manifest = json.loads(session.run(["manifest"], feeds([["i03"]]))[0][0])
    assert manifest == json.loads(session.get_modelmeta().custom_metadata_map["manifest"])


@pytest.fixture
def run(tmp_path):
    """A trained run of a closed form, without model.onnx."""
    planted_log().to_csv(tmp_path / "events.csv", index=False)
    config = composed(
        "data=csv", f"data.path={tmp_path}/events.csv", f"data.folder={tmp_path}/data", "model=item_knn", "ks=[10]",
        "baselines=none",
    )  # fmt: skip
    found = Run.create(tmp_path / "run", config)
    train_run(found)
    return found


def test_the_command_writes_the_file_into_the_run(run, capsys):
    export_run(run, composed(f"run={run.folder}", "licence=CC0", name="export"))
    said = Recommender(run.folder / "model.onnx").describe()
    assert (said["model"], said["licence"], said["precision"]["n_users"]) == ("item_knn", "CC0", 60)
    assert said["metrics"]["ndcg@10"] == pytest.approx(said["precision"]["ndcg@10"])
    assert "through the file on 60 test users" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fault", [pytest.param(CheckError("it is wrong"), marks=pytest.mark.slow), KeyboardInterrupt()]
)
def test_what_fails_leaves_no_file(run, monkeypatch, fault):
    monkeypatch.setattr("recsys.export.export.check_ranking", mock.Mock(side_effect=fault))
    with pytest.raises((ConfigError, KeyboardInterrupt)):
        export_run(run, composed(f"run={run.folder}", name="export"))
    assert not list(run.folder.glob("*model.onnx*"))


def test_a_failed_check_is_one_line_and_status_1(run, monkeypatch, capsys):
    monkeypatch.setattr("recsys.export.export.check_answers", mock.Mock(side_effect=CheckError("it is wrong")))
    monkeypatch.setattr(sys, "argv", ["recsys export", f"run={run.folder}"])
    with pytest.raises(SystemExit, match=r"cannot be exported to model.onnx: it is wrong; try precision=float32"):
        run_command("export")


def test_an_unknown_precision_is_refused_before_anything_is_read(run):
    with pytest.raises(ConfigError, match="precision=int4 is unknown; use float16, float32, int8"):
        export_run(run, composed(f"run={run.folder}", "precision=int4", name="export"))


def test_opsets_are_those_that_were_promised(sasrec_file):
    proto = onnx.load_from_string(sasrec_file)
    assert {o.domain: o.version for o in proto.opset_import} == {"": 20, "ai.onnx.ml": 3}
    assert not [tensor for tensor in proto.graph.initializer if tensor.external_data]
    assert {value.name for value in proto.graph.input}.isdisjoint(tensor.name for tensor in proto.graph.initializer)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"])
def test_the_clock_in_the_graph_tells_what_pandas_tells(zone):
    seconds = np.random.default_rng(0).integers(0, 4 * 10**9, 5000)
    turns = [int(pd.Timestamp(f"2024-{day}", tz="UTC").timestamp()) for day in ("02-29", "03-31 01:00", "10-27 01:00")]
    seconds = np.concatenate([seconds, turns, np.array(turns) - 1])
    clock = CalendarEncoder(zone)
    for name in ("hour", "weekday", "month", "season"):
        found = clock(name, torch.from_numpy(seconds))[:, 0].numpy()
        assert (found == derive_time_feature(name, seconds, str(ZoneInfo(zone)))).all()


@pytest.mark.slow
def test_times_of_a_zone_with_summer_time_are_read_in_the_graph(tmp_path):
    data = prepared(tmp_path, planted_log(), clock=Clock(zone="Europe/Berlin"), features=Features(context=["hour"]))
    assert "timestamp" in file_of("two_tower", data)[1]["inputs"]


@pytest.mark.slow
def test_features_of_several_values_and_missing_numbers_enter_by_name(tmp_path):
    log = planted_log()
    rng = np.random.default_rng(0)
    log["tags"] = [rng.choice(["a", "a|b", "b|c|d", "é"]) for _ in range(len(log))]
    log["price"] = np.where(rng.random(len(log)) < 0.1, np.nan, rng.normal(50, 9, len(log)))
    data = prepared(tmp_path, log, features=Features(context=["tags", "price"]))
    inputs = file_of("sasrec", data)[1]["inputs"]
    assert "history_tags" not in inputs  # context is of the query alone
    assert inputs["tags"]["shape"] == ["batch", 3]
    assert inputs["price"] == {
        "type": "double", "shape": ["batch"], "default": None, "of": "request",
        "meaning": "price of the request; NaN where missing",
    }  # fmt: skip


def test_a_column_named_as_an_input_is_refused(tmp_path):
    log = planted_log().assign(deny="x")
    data = prepared(tmp_path, log, features=Features(context=["deny"]))
    with pytest.raises(ConfigError, match="two inputs of the file would be called 'deny'"):
        file_of("popularity", data)


def test_a_model_that_fixes_the_batch_is_refused(dataset):
    class Fixed(type(made("popularity", dataset))):
        def forward(self, inputs):
            return super().forward(inputs) * torch.ones(len(inputs.history), 1)

    model = made("popularity", dataset)
    model.__class__ = Fixed
    with pytest.raises(TypeError, match=r"x\.shape\[0\]"):
        written(model, dataset)


def test_ids_that_read_alike_are_refused():
    with pytest.raises(ConfigError, match="occur twice"):
        compose_graph(None, None, RawIds(["1", "1"]), None, False)


def test_a_file_over_the_limit_of_the_format_is_refused(dataset, monkeypatch):
    monkeypatch.setattr("recsys.export.external_data.MAX_FILE_BYTES", 1000)
    with pytest.raises(ConfigError, match="over the 2 GiB of one"):
        written(made("popularity", dataset), dataset)


def too_large_for_one(monkeypatch):
    """Lower the limits, so that one file holds little more than nodes and ids."""
    monkeypatch.setattr("recsys.export.external_data.MAX_FILE_BYTES", 30_000)
    monkeypatch.setattr("recsys.export.external_data.MIN_TABLE_BYTES", 1_000)


@pytest.mark.slow
def test_what_one_file_cannot_hold_lies_beside_it(run, monkeypatch, capsys):
    export_run(run, composed(f"run={run.folder}", name="export"))
    one = Recommender(run.folder / "model.onnx").recommend(["i03"])
    too_large_for_one(monkeypatch)
    export_run(run, composed(f"run={run.folder}", name="export"))
    (first,) = run.folder.glob("model-*")
    assert f"{first}, which must lie next to model.onnx" in capsys.readouterr().out
    served = Recommender(run.folder / "model.onnx")
    assert served.recommend(["i03"]) == one
    assert served.describe()["beside"] == first.name
    export_run(run, composed(f"run={run.folder}", name="export"))
    (second,) = run.folder.glob("model-*")
    assert second != first
    assert served.recommend(["i03"]) == one
    second.unlink()
    with pytest.raises(RequestError, match=f"{second.name}"):
        Recommender(run.folder / "model.onnx")


@pytest.mark.slow
def test_an_export_that_fails_leaves_the_tables_of_the_last_one(run, monkeypatch):
    too_large_for_one(monkeypatch)
    export_run(run, composed(f"run={run.folder}", name="export"))
    before = sorted(run.folder.glob("model*"))
    monkeypatch.setattr("recsys.export.export.check_ranking", mock.Mock(side_effect=CheckError("it is wrong")))
    with pytest.raises(ConfigError, match="it is wrong"):
        export_run(run, composed(f"run={run.folder}", name="export"))
    assert sorted(run.folder.glob("model*")) == before


@pytest.mark.slow
def test_killed_while_it_writes_it_leaves_no_half_file(run):
    command = [sys.executable, "-W", "ignore", str(ROOT / "scripts/export.py"), f"run={run.folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (half := list(run.folder.glob(".model.onnx-*"))) and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    process.wait()
    assert half
    assert not (run.folder / "model.onnx").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    Recommender(run.folder / "model.onnx").self_test()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_holds_the_check_on_public_data_in_every_precision(name, public, tmp_path):
    data = load_dataset(composed("data=movielens_100k", f"data.folder={tmp_path}"))
    for precision in ("float32", "float16", "int8"):
        _, manifest = written(made(name, data), data, precision)
        assert manifest["precision"]["n_users"] == 943


@pytest.mark.slow
def test_one_item_is_a_catalogue(tmp_path):
    log = planted_log().assign(item="only", timestamp=lambda log: range(len(log)))
    data = prepared(tmp_path, log, exclude_seen=False)
    for name in ("popularity", "item_knn", "sasrec", "ncf"):
        file = Recommender(written(made(name, data), data)[0])
        assert file.recommend(["only"]).items == ["only"]


def test_numbers_too_large_for_half_precision_are_refused(dataset):
    model = made("sasrec", dataset)
    with torch.no_grad():
        model.item.weight[3] = 1e6
    with pytest.raises(ConfigError, match="precision=float32"):
        round_tables(model, dataset.n_items, "float16")


@pytest.mark.parametrize(
    "spoilt", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("scores", "vectors")), "nan"]
)
def test_a_file_that_answers_otherwise_is_refused(spoilt, dataset, monkeypatch):
    model = made("sasrec", dataset)
    plain = TorchReference.scores

    def other(self, request, allow):
        scores = plain(self, request, allow)
        return {"scores": scores * 1.01, "vectors": np.roll(scores, 1), "nan": scores * np.nan}[spoilt]

    monkeypatch.setattr(TorchReference, "scores", other)
    with pytest.raises(CheckError):
        written(model, dataset)


def test_nan_is_counted_before_anything_is_compared():
    found = Recommendation(["a"], [float("nan")], 1, [])
    with pytest.raises(CheckError, match="1 scores of the file and 0 of torch are NaN"):
        _compare(found, np.array([-np.inf, 1.0]), {"a": 1}, 1, exact=True)


def test_a_wrong_order_is_noticed():
    scores = np.array([-np.inf, 3.0, 2.0, 1.0])
    _compare(Recommendation(["a", "b"], [3.0, 2.0], 1, []), scores, {"a": 1, "b": 2, "c": 3}, 2, exact=True)
    with pytest.raises(CheckError, match="leaves out an item"):
        _compare(Recommendation(["a", "c"], [3.0, 1.0], 1, []), scores, {"a": 1, "b": 2, "c": 3}, 2, exact=True)


def test_request_defaults_are_plain():
    assert CheckRequest(["a"]).deny == []


def test_trainable_models_are_those_with_a_fold(dataset):
    for name in TRAINABLE:
        model = made(name, dataset)
        before = model.item_vectors()
        model.fold(before.detach() * 2)
        torch.testing.assert_close(model.item_vectors(), before * 2)
        torch.testing.assert_close(model.item_vectors(torch.tensor([[3, 1]])), before[torch.tensor([[3, 1]])] * 2)
