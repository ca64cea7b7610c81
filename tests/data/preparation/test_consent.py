"""Who did not agree, or was erased, is in nothing that is prepared; pseudonyms change names and nothing else."""

import pandas as pd
import pytest

from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.batches.ranking import RankingBatches
from recsys.data.features import Features
from recsys.data.preparation.consent import Privacy
from recsys.data.preparation.erased_users import ERASED_FILE, ErasedUsers, format_erased_users
from recsys.data.sources.files import Csv, FrameSource
from recsys.errors import ConfigError, DataError
from recsys.pseudonyms import erasure_digest, pseudonym, read_secret_key
from tests.planted import planted_log, planted_users, prepared

KEY, VARIABLE = "k" * 32, "RECSYS_PRIVACY_KEY"
CANARY = "i-canary"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)


def with_canaries(log, users):
    """The log, in which these users alone had the canary, between two other items and last."""
    rows = [(user, CANARY, log["timestamp"].max() + n) for user in users for n in range(5)]
    return pd.concat([log, pd.DataFrame(rows, columns=log.columns)], ignore_index=True)


def consents(path, users, **said):
    pd.DataFrame({"user": users, **said}).to_csv(path, index=False)
    return str(path)


def everything(folder):
    """All that a prepared folder holds, as text."""
    tables = [pd.read_parquet(path).to_csv() for path in folder.rglob("*.parquet")]
    return "".join([*tables, (folder / "metadata.json").read_text()])


def reached(dataset, number):
    """Whether an item is in any batch, to learn from or to be ranked."""
    training = UserRowBatches(dataset, 8, 50, seed=0)
    batches = [*training, *RankingBatches(dataset, "validation", 8), *RankingBatches(dataset, "test", 8)]
    assert batches
    return any((batch.history == number).any() or (batch.targets == number).any() for batch in batches)


@pytest.mark.parametrize("where", ["table", "events"])
def test_rows_without_consent_reach_no_batch(tmp_path, where):
    silent = ["u03", "u07", "u11"]
    log = with_canaries(planted_log(), silent)
    free = prepared(tmp_path / "free", log)
    number = free.raw_items().to_pylist().index(CANARY) + 1
    assert reached(free, number)  # the canary does sing
    if where == "table":
        users = sorted({*log["user"]} - {"u11"})  # one says nothing at all
        said = ["no" if user in silent else "Yes" for user in users]
        privacy = Privacy(consent=consents(tmp_path / "said.csv", users, train=said))
    else:
        log["train"] = ~log["user"].isin(silent)
        privacy = Privacy(consent="events")
    found = prepared(tmp_path / "asked", log, privacy=privacy)
    assert CANARY not in found.raw_items().to_pylist()
    assert not set(silent) & set(found.raw_users().to_pylist())
    own = log["user"].isin(silent)
    counts = found.metadata["counts"]
    assert (counts["no_consent"], counts["kept"]) == (own.sum(), (~own).sum())
    assert not any(text in everything(found.folder) for text in (CANARY, *silent))
    never_had = prepared(tmp_path / "never", log[~own])
    assert found.metadata["arrays"] == never_had.metadata["arrays"]


def test_rows_that_break_a_rule_need_consent_too(tmp_path):
    log = planted_log()
    broken = pd.DataFrame({"user": ["u03", "u04", None], "item": [None, None, "i01"], "timestamp": [1_700_000_000] * 3})
    log = pd.concat([log, broken], ignore_index=True)
    agreeing = sorted({*planted_log()["user"]} - {"u03"})
    privacy = Privacy(consent=consents(tmp_path / "said.csv", agreeing, train=1))
    aside = pd.read_parquet(prepared(tmp_path, log, privacy=privacy).folder / "quarantine.parquet")
    assert sorted(aside["user"].dropna()) == ["u04"]
    assert len(aside) == 2  # nobody's row names nobody


def test_the_purpose_is_the_column_and_whole_numbers_are_ids(tmp_path):
    log = planted_log()
    log["user"] = log["user"].str[1:].astype(int)
    path = consents(tmp_path / "said.csv", range(60), train=False, analyse=[user % 2 == 0 for user in range(60)])
    found = prepared(tmp_path, log, privacy=Privacy(consent=path, purpose="analyse"))
    assert found.raw_users().to_pylist() == list(range(0, 60, 2))
    with pytest.raises(DataError, match=r"none of the [\d,]+ events is left: .*no_consent"):
        prepared(tmp_path, log, privacy=Privacy(consent=path))
    with pytest.raises(DataError, match=r"has no column 'personalise'; there are: user, train, analyse"):
        prepared(tmp_path, log, privacy=Privacy(consent=path, purpose="personalise"))


def test_of_two_answers_the_no_counts(tmp_path):
    path = consents(tmp_path / "said.csv", [*sorted({*planted_log()["user"]}), "u05"], train=[*["yes"] * 60, "no"])
    assert "u05" not in prepared(tmp_path, planted_log(), privacy=Privacy(consent=path)).raw_users().to_pylist()


def test_pseudonyms_are_hmac_sha256_and_change_names_alone(tmp_path):
    source = FrameSource(planted_log(), users=planted_users(60))
    features = Features(user=["age"])
    plain = prepared(tmp_path / "plain", source, features=features)
    hidden = prepared(tmp_path / "hidden", source, features=features, privacy=Privacy(pseudonyms=True))
    name = {user: pseudonym(KEY.encode(), user) for user in plain.raw_users().to_pylist()}
    # printf u07 | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    assert name["u07"] == "c1157692bf4c68b68b866660eb638167ada1f19188e30f7f4c419fd6e0e91888"

    def by_user(dataset, names):
        spans = zip(names, dataset.offsets[:-1], dataset.offsets[1:], strict=True)
        ages = dataset.features("user")["age"][1:]
        return {
            user: (dataset.items[a:b].tolist(), round(float(ages[n, 0]), 5)) for n, (user, a, b) in enumerate(spans)
        }

    assert by_user(hidden, hidden.raw_users().to_pylist()) == by_user(plain, [name[u] for u in sorted(name)])
    assert not any(user in everything(hidden.folder) for user in name)


def test_another_key_gives_another_dataset_and_no_key_is_refused(tmp_path, monkeypatch):
    privacy = Privacy(pseudonyms=True)
    first = prepared(tmp_path, planted_log(), privacy=privacy)
    assert prepared(tmp_path, planted_log(), privacy=privacy).folder == first.folder
    monkeypatch.setenv(VARIABLE, "q" * 32)
    assert prepared(tmp_path, planted_log(), privacy=privacy).folder != first.folder
    for value, reason in (("", "is not set"), ("short", "fewer than")):
        monkeypatch.setenv(VARIABLE, value)
        with pytest.raises(ConfigError, match=f"{VARIABLE} .*{reason}|{VARIABLE} {reason}"):
            prepared(tmp_path, planted_log(), privacy=privacy)


def test_nothing_asked_changes_no_fingerprint(dataset):
    assert "privacy" not in dataset.metadata


def test_changed_consent_is_another_dataset(tmp_path):
    users = sorted({*planted_log()["user"]})
    privacy = Privacy(consent=consents(tmp_path / "said.csv", users, train=1))
    first = prepared(tmp_path, planted_log(), privacy=privacy)
    consents(tmp_path / "said.csv", users[1:], train=1)
    assert prepared(tmp_path, planted_log(), privacy=privacy).n_users == first.n_users - 1


def test_the_erased_do_not_come_back(tmp_path):
    write_ledger(tmp_path, ["u03", "nobody"])
    planted_log().to_csv(tmp_path / "log.csv", index=False)
    found = prepared(tmp_path, Csv(str(tmp_path / "log.csv")))
    own = planted_log()["user"] == "u03"
    assert found.metadata["counts"]["erased"] == own.sum()
    never_had = prepared(tmp_path / "other", planted_log()[~own])
    assert found.metadata["arrays"] == never_had.metadata["arrays"]
    assert "u03" not in (tmp_path / ERASED_FILE).read_text()


def test_a_vocabulary_with_the_erased_is_refused(tmp_path):
    old = prepared(tmp_path / "old", planted_log())
    (tmp_path / "new").mkdir()
    write_ledger(tmp_path / "new", ["u03"])
    with pytest.raises(DataError, match="contains users who were erased; train again without it"):
        prepared(tmp_path / "new", planted_log(), vocabulary=str(old.folder))


def test_a_ledger_needs_its_own_key(tmp_path, monkeypatch):
    write_ledger(tmp_path, ["u03"])
    monkeypatch.setenv(VARIABLE, "q" * 32)
    with pytest.raises(DataError, match="written with a key other than"):
        prepared(tmp_path, planted_log())
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match="is not set"):
        prepared(tmp_path, planted_log())


def test_an_erasure_during_a_preparation_stops_it(tmp_path):
    class Slow(FrameSource):
        def read(self, engine):
            write_ledger(tmp_path, ["u03"])  # after the ledger was read
            return super().read(engine)

    with pytest.raises(DataError, match="erased while"):
        prepared(tmp_path, Slow(planted_log()))
    assert [path.name for path in tmp_path.iterdir()] == [ERASED_FILE]


def test_marks_and_pseudonyms_differ():
    key = read_secret_key(VARIABLE)
    assert erasure_digest(key, "u03") != pseudonym(key, "u03")


def write_ledger(folder, users):
    (folder / ERASED_FILE).write_text(
        format_erased_users(read_secret_key(VARIABLE), users, ErasedUsers(folder, VARIABLE))
    )
