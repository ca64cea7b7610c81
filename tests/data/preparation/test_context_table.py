"""Context of the request: learned, dropped out, served by name, taken away; and asked in each event's own moment."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.config.build import build
from recsys.data.batches.batch import ModelInputs
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.batches.ranking import RankingBatches
from recsys.data.features import Features
from recsys.data.preparation.splits import GlobalTime, LeaveOneOut, Random
from recsys.data.schema import Clock, Columns
from recsys.data.sources.files import FrameSource
from recsys.errors import DataError
from recsys.evaluation.context_ablation import MaskedContextBatches, format_context, measure_context
from recsys.evaluation.evaluate import average_by_user, distinct_users, evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, score_batch
from recsys.export.export import build_model_file
from recsys.models.base import DataSpec
from recsys.models.layers.embedding import ContextEmbedding
from recsys.serving.recommender import Recommender
from recsys.training.module import TrainingModule
from tests.composed import composed
from tests.contracts.test_models import made
from tests.planted import START, planted_baskets, planted_log, prepared

HOUR = 3600
WEATHERS = ("rain", "snow", "sun")


def weather_log(n_users=40, n_items=12, seed=0):
    """Events that the weather decides: rain, snow and sun have four items each, bought in turns by nobody's taste; and
    the weather of two cities by the hour, which only its table knows.
    """
    rng = np.random.default_rng(seed)
    hours, cities = 400, ("Bern", "Oslo")
    weather = {city: rng.integers(3, size=hours) for city in cities}
    rows = []
    for user in range(n_users):
        city = cities[user % 2]
        for hour in np.sort(rng.choice(hours, 12, replace=False)):
            item = 3 * int(rng.integers(n_items // 3)) + int(weather[city][hour])
            rows.append((f"u{user:02}", f"i{item:02}", START // HOUR * HOUR + int(hour) * HOUR + 1799, city))
    events = pd.DataFrame(rows, columns=["user", "item", "timestamp", "city"])
    moments = [
        (city, START // HOUR * HOUR + hour * HOUR, WEATHERS[weather[city][hour]])
        for city in cities
        for hour in range(hours)
    ]
    return events, pd.DataFrame(moments, columns=["city", "timestamp", "weather"])


@pytest.fixture(scope="module")
def weathered(tmp_path_factory):
    """The log with the weather of its places and hours, each event asked in its own moment."""
    return prepared(
        tmp_path_factory.mktemp("weather"),
        FrameSource(weather_log()[0], moments=weather_log()[1]),
        GlobalTime(quantile=0.8, validation=0.1, ask="event"),
        columns=Columns(place="city"),
        features=Features(context=["weather", "hour"]),
        exclude_seen=False,
    )


@pytest.fixture(scope="module")
def trained(weathered):
    """A function from a model's name to that model, trained on the weather, once."""

    @cache
    def made_once(name):
        torch.manual_seed(0)
        node = composed(f"model={name}", "model.dim=8", *(["model.hidden=[16]"] if name == "two_tower" else [])).model
        model = build(node, spec=DataSpec.from_dataset(weathered, 20))
        model.prepare(weathered)
        module = TrainingModule(model, build(composed().loss), torch.optim.SGD, weathered, 1)
        optimizer, batches = torch.optim.AdamW(model.parameters(), lr=0.02), UserRowBatches(weathered, 40, 20, seed=0)
        for epoch in range(80):
            batches.set_epoch(epoch)
            for batch in batches:
                optimizer.zero_grad()
                (module.loss(module.make_loss_inputs(batch)) / batch.total_weight).backward()
                optimizer.step()
        return model.eval()

    return made_once


@pytest.mark.parametrize("name", ["two_tower", "sasrec"])
def test_weather_that_decides_is_learned_and_lost_when_unknown_or_shuffled(name, trained, weathered):
    worth = measure_context(trained(name), weathered, composed("ks=[4]", "batches.max_history=20"))
    weather, hour = (worth["fields"][field] for field in ("weather", "hour"))
    assert worth["ndcg@4"] > 0.5
    assert max(weather.values()) < 0.7 * worth["ndcg@4"] and max(worth["all"].values()) < 0.7 * worth["ndcg@4"]
    assert min(hour.values()) > 0.9 * worth["ndcg@4"]
    assert max(worth["test"]["all"].values()) < 0.7 * worth["test"]["ndcg@4"]
    lines = format_context(worth, weathered).splitlines()
    assert [line.split()[0] for line in lines if "(" in line] == ["weather", "hour", "all", "all,"]


def test_a_model_without_context_has_nothing_to_report(dataset):
    assert measure_context(made("two_tower", dataset), dataset, composed()) is None
    assert measure_context(made("popularity", dataset), dataset, composed()) is None


def test_the_report_says_where_the_cut_knows_the_clock_alone(tmp_path):
    log = planted_log().assign(place="x")
    data = prepared(tmp_path, log, GlobalTime(), features=Features(context=["place"]))
    worth = measure_context(made("two_tower", data), data, composed("ks=[10]"))
    assert worth["ndcg@10"] == worth["fields"]["place"]["shuffled"]
    assert "split.ask=event" in format_context(worth, data)


def test_shuffling_gives_every_query_the_context_of_another(weathered):
    own = make_ranking_batches(weathered, "test", 20)
    told = MaskedContextBatches(own, ["weather"], shuffled=True)
    before, after = own.request(own.rows), told.request(told.rows)
    assert (after["hour"] == before["hour"]).all() and (after["weather"] != before["weather"]).any()
    assert sorted(after["weather"].ravel()) == sorted(before["weather"].ravel())
    assert not MaskedContextBatches(own, ["weather"], shuffled=False).request(own.rows)["weather"].any()
    parts = np.concatenate([told.request(told.rows[:3])["weather"], told.request(told.rows[3:])["weather"]])
    assert (parts == after["weather"]).all()


def test_the_moment_has_the_weather_of_its_place_and_hour(weathered):
    events, moments = weather_log()
    truth = {(city, moment): weather for city, moment, weather in moments.itertuples(index=False)}
    values = weathered.encoders["context"]["weather"].values
    users = pd.read_parquet(weathered.folder / "users.parquet")["user"].tolist()
    cities = dict(events[["user", "city"]].drop_duplicates().itertuples(index=False))
    owner = np.searchsorted(weathered.offsets, np.arange(len(weathered.items)), "right") - 1
    for user, moment, code in zip(
        owner, weathered.timestamps, weathered.features("context")["weather"][:, 0], strict=True
    ):
        assert values[code - 1] == truth[cities[users[user]], moment // HOUR * HOUR]


def with_weather(folder, moments, events=None, **settings):
    events = weather_log()[0] if events is None else events
    settings = {"columns": Columns(place="city"), "features": Features(context=["weather"]), **settings}
    return prepared(folder, FrameSource(events, moments=moments), **settings)


def test_moments_of_no_row_are_unknown_and_a_table_without_places_is_joined_by_the_hour(tmp_path):
    moments = weather_log()[1]
    some = with_weather(tmp_path, moments[moments["city"] == "Oslo"])
    codes, users = some.features("context")["weather"][:, 0], np.diff(some.offsets)
    assert 0 < (codes == 0).sum() == users[::2].sum() < len(codes)
    hourly = moments[moments["city"] == "Oslo"].drop(columns="city")
    everywhere = with_weather(tmp_path, hourly, columns=Columns())
    assert (everywhere.features("context")["weather"] > 0).all()
    assert some.split_hash == everywhere.split_hash


def test_times_and_places_are_read_as_the_events_are(tmp_path):
    events, moments = weather_log()
    written = moments.assign(timestamp=pd.to_datetime(moments["timestamp"], unit="s").dt.tz_localize("UTC"))
    numbered = {"Bern": 7, "Oslo": 8}
    wanted = with_weather(tmp_path, moments)
    found = with_weather(tmp_path, written.replace(numbered), events.replace(numbered))
    assert found.metadata["arrays"] == wanted.metadata["arrays"]


@pytest.mark.parametrize(
    ("change", "settings", "complaint"),
    [
        (lambda m: pd.concat([m, m[7:8]]), {}, "has 2 rows for place 'Bern' and the hour from 1[0-9]{9} s"),
        (lambda m: m.drop(columns="city"), {}, "lacks city; there are: timestamp, weather"),
        (lambda m: m.rename(columns={"weather": "sky"}), {}, r"lacks columns of data.features.context \(weather\)"),
        (lambda m: m, {"columns": Columns(place="town")}, "lacks town"),
        (
            lambda m: m,
            {"columns": Columns(timestamp=None)},
            "needs times; name the column under data.columns.timestamp",
        ),
    ],
)
def test_tables_of_moments_that_cannot_be_joined_are_named(tmp_path, change, settings, complaint):
    with pytest.raises(DataError, match=complaint):
        with_weather(tmp_path, change(weather_log()[1]), **settings)


def test_a_column_of_both_tables_is_refused(tmp_path):
    events, moments = weather_log()
    with pytest.raises(DataError, match=r"column weather is in the events and in the table data.source.moments"):
        with_weather(tmp_path, moments, events.assign(weather="sun"))


@pytest.mark.parametrize("role", ["item", "event", "value", "weight", "basket", "row", "money"])
def test_what_is_known_only_after_the_event_is_refused(tmp_path, role):
    name = "item" if role == "item" else "late"
    with pytest.raises(DataError, match=f"names '{name}', which is data.columns.{role} and known only after"):
        prepared(tmp_path, planted_log(), columns=Columns(**{role: name}), features=Features(context=[name]))


@pytest.mark.parametrize(("of", "told"), [("item", True), ("user", False)])
def test_a_column_that_describes_the_item_is_warned_of(tmp_path, caplog, of, told):
    log = planted_log()
    log["cost"] = np.where(log[of].str[1:].astype(int) % 5 == 0, "paid", "free")
    prepared(tmp_path, log, features=Features(context=["cost", "hour"]))
    assert ("context 'cost' has one value per item" in caplog.text) == told
    assert "'hour'" not in caplog.text


def test_dropout_makes_a_share_of_each_column_unknown_and_only_in_training(weathered):
    context = ContextEmbedding(DataSpec.from_dataset(weathered, 20).context, 4, 0.25)
    columns = {"weather": torch.ones(200, 100, 1).long(), "hour": torch.ones(200, 100, 1).long()}
    torch.manual_seed(0)
    by_weather, by_hour = ((context._drop_values(columns[name]) == 0)[..., 0] for name in ("weather", "hour"))
    assert abs(by_weather.float().mean() - 0.25) < 0.01
    assert abs((by_weather & by_hour).float().mean() - 0.25**2) < 0.01
    assert (context.train()(columns) != context(columns)).any()
    assert torch.equal(context.eval()(columns), context(columns))


def test_a_model_without_context_draws_nothing_for_it(dataset):
    batch = next(iter(UserRowBatches(dataset, 6, 20, seed=0)))
    found = []
    for share in (0.0, 0.9):
        model = made("two_tower", dataset, f"model.context_dropout={share}").train()
        torch.manual_seed(0)
        found.append(model.encode(batch.inputs))
    assert torch.equal(*found)


def test_dropout_teaches_to_answer_what_is_not_told(weathered, trained):
    """Items of every weather, and not those of one."""
    batch = next(iter(make_ranking_batches(weathered, "test", 20)))
    batch.request |= {name: torch.zeros_like(batch.request[name]) for name in ("weather", "hour")}
    shares = score_batch(trained("two_tower"), batch).softmax(dim=1)
    raw = weathered.raw_items().to_pylist()
    kinds = torch.tensor([int(item[1:]) % 3 for item in raw[: weathered.n_items]])
    means = torch.stack([shares[:, 1:][:, kinds == kind].sum(dim=1).mean() for kind in range(3)])
    assert (means > 0.15).all(), means


@pytest.fixture(scope="module")
def file(weathered, trained):
    """The exported file of each model."""

    @cache
    def of(name):
        proto, _ = build_model_file(trained(name), weathered, "float32", False, None, {"model": name})
        return Recommender(proto.SerializeToString())

    return of


@pytest.mark.parametrize("name", ["two_tower", pytest.param("sasrec", marks=pytest.mark.slow)])
def test_a_file_takes_context_by_name_and_a_missing_field_as_unknown(name, file, trained, weathered):
    inputs = file(name).describe()["inputs"]
    assert "weather" in inputs and "hour" not in inputs and "history_weather" not in inputs
    now, values = START + 12 * 86_400, weathered.encoders["context"]["weather"].values
    hour = torch.tensor([[[now // HOUR % 24 + 1]]])
    for given, code in [*((value, code) for code, value in enumerate(values, 1)), (None, 0), ("hail", 0)]:
        context = {"timestamp": now} | ({} if given is None else {"weather": given})
        found = file(name).recommend([], context=context, k=weathered.n_items, exclude_seen=False)
        request = {"weather": torch.tensor([[[code]]]), "hour": hour, "timestamp": torch.tensor([[now]])}
        history, events = torch.zeros(1, 1).long(), {"timestamp": torch.zeros(1, 1).long()}
        wanted = trained(name)(ModelInputs({"id": torch.zeros(1).long()}, history, events, request))[0]
        number = {raw: n for n, raw in enumerate(weathered.raw_items().to_pylist(), start=1)}
        torch.testing.assert_close(torch.tensor(found.scores), wanted[[number[i] for i in found.items]])
    for value in values:
        hours = [{"weather": value, "timestamp": now + hour * HOUR} for hour in range(24)]
        best = [WEATHERS[int(found.items[0][1:]) % 3] for found in file(name).recommend([[]] * 24, context=hours, k=1)]
        assert best.count(value) > 16


@pytest.mark.parametrize("split", [Random(ask="event"), GlobalTime(ask="event")])
def test_each_event_is_asked_in_its_own_moment_after_the_same_history(tmp_path, split):
    data = prepared(tmp_path, planted_log(), split, features=Features(context=["hour"]), clock=Clock(zone="Asia/Tokyo"))
    batches = RankingBatches(data, "test", 7)
    asked = []
    for batch in batches:
        assert batch.target_query.tolist() == list(range(len(batch.history)))
        for row in range(len(batch.history)):
            user, moment = int(batch.users[row]), int(batch.request["timestamp"][row, 0])
            before = data.items[data.offsets[user] : data.bounds[user, 1]]
            assert batch.history[row][batch.history[row] > 0].tolist() == [i for i in before if i <= data.n_items]
            assert int(batch.request["hour"][row, 0, 0]) == (moment // HOUR + 9) % 24 + 1
            asked.append((user, int(batch.targets[row]), moment))
    at = np.concatenate([np.arange(a, b) for a, b in zip(data.bounds[:, 1], data.offsets[1:], strict=True)])
    owner = np.searchsorted(data.offsets, at, "right") - 1
    assert sorted(asked) == sorted(zip(owner, data.items[at], data.timestamps[at], strict=True))


def test_a_basket_is_asked_once_with_all_its_items(tmp_path):
    data = prepared(
        tmp_path, planted_baskets(), Random(ask="event"), columns=Columns(basket="basket"), exclude_seen=False
    )
    found = []
    for batch in RankingBatches(data, "test", 7):
        found += [sorted(batch.targets[batch.target_query == row].tolist()) for row in range(len(batch.history))]
    at = np.concatenate([np.arange(a, b) for a, b in zip(data.bounds[:, 1], data.offsets[1:], strict=True)])
    wanted = pd.Series(np.asarray(data.items)[at]).groupby(np.asarray(data.baskets)[at])
    assert sorted(found) == sorted(sorted(set(items)) for _, items in wanted)


def test_asking_otherwise_leaves_the_parts_and_the_name_of_what_was_prepared(tmp_path):
    by_event, by_user_ = (prepared(tmp_path, planted_log(), Random(ask=ask)) for ask in ("event", "user"))
    assert by_event.split_hash == by_user_.split_hash and by_event.folder != by_user_.folder
    assert "ask" not in by_user_.metadata["split"]


def test_the_mean_is_over_events_and_the_interval_over_users(weathered):
    ranking = evaluate_scorer(
        lambda batch: torch.randn(
            len(batch.history), weathered.n_items + 1, generator=torch.Generator().manual_seed(0)
        ),
        weathered,
        make_ranking_batches(weathered, "test", 20),
        (4,),
    )
    assert ranking.n_targets > ranking.n_users == len(set(ranking.users.tolist())) == len(ranking.per_user["hr@4"])
    assert np.isclose(ranking.per_user["hr@4"].mean(), ranking.metrics["hr@4"])


def test_what_a_user_adds_tells_how_sure_a_mean_over_events_is():
    """Against resampling whole users and taking the ratio of sums."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 300)
    owner = np.repeat(np.arange(300), counts)
    values = rng.random(len(owner)) * 0.3 + 0.05 * counts[owner] + rng.normal(0, 0.1, 300)[owner]
    found = average_by_user(values, distinct_users(owner)[1])
    sums = np.bincount(owner, values)
    draws = rng.integers(300, size=(4000, 300))
    ratios = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    assert np.isclose(found.mean(), values.mean())
    assert abs(found.std() / np.sqrt(300) / ratios.std() - 1) < 0.05
    assert (average_by_user(values, np.arange(len(values))) == values).all()


@pytest.mark.parametrize("split", [lambda: Random(ask="row"), lambda: GlobalTime(ask="event", targets="last")])
def test_questions_that_cannot_be_are_refused(split):
    with pytest.raises(DataError, match=r"split.ask=('row' is unknown|event needs split.targets=all)"):
        split()


def test_leave_one_out_asks_in_the_moment_of_its_event(tmp_path):
    data = prepared(tmp_path, planted_log(), LeaveOneOut(), features=Features(context=["hour"]))
    batch = next(iter(RankingBatches(data, "test", 80)))
    at = data.bounds[batch.users.numpy(), 1]
    assert (batch.request["timestamp"][:, 0].numpy() == data.timestamps[at]).all()
