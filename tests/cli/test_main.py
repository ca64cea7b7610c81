"""What commands say, and to whom: terminals, files, scripts."""

import contextlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from recsys.cli.help import _read_comments
from recsys.cli.main import main
from recsys.cli.signals import report_how_to_resume
from recsys.config.settings import config_dir
from recsys.config.types import Natural, Positive, type_mismatch
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.run import Run
from recsys.training.fit import fit_model
from tests.composed import composed
from tests.planted import planted_log

EPOCHS = 3


@pytest.fixture(scope="module")
def log_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "events.csv"
    planted_log().to_csv(path, index=False)
    return path


def words(log_file, folder):
    return [
        "data=csv", f"data.path={log_file}", f"data.folder={log_file.parent}/prepared", "model.dim=8", "logger=none",
        "baselines=none", "export=false", "ks=[5]", "threads=1", "patience=10000", f"hydra.run.dir={folder}",
    ]  # fmt: skip


def trained(log_file, folder, stream):
    """Training with `stream` for stderr."""
    config = composed(*words(log_file, folder)[:-1], f"trainer.max_epochs={EPOCHS}")
    with contextlib.redirect_stderr(stream):
        fit_model(config, load_dataset(config), Run.create(folder, config))


def everything(terminal):
    """What is written to a terminal until nobody writes any more."""
    text = b""
    with contextlib.suppress(OSError):  # which is how it ends
        while block := os.read(terminal, 4096):
            text += block
    os.close(terminal)
    return text.decode()


def test_a_file_gets_a_line_an_epoch_and_nothing_else(log_file, tmp_path):
    stream = io.StringIO()
    trained(log_file, tmp_path / "run", stream)
    lines = stream.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {n} of {EPOCHS}" for n in (1, 2, 3)]
    assert all(re.search(r"loss \d.*val/ndcg@10 0\.\d+.* [\d,]+ tokens/s, [\d.]+ s$", line) for line in lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", stream.getvalue())


def test_a_terminal_sees_metric_speed_and_time_left(log_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(Progress, "update", partialmethod(Progress.update, refresh=True))  # or it waits for its moment
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(everything, ours)
        with open(theirs, "w") as stream:  # noqa: PTH123 - a descriptor, not a path
            trained(log_file, tmp_path / "run", stream)
        text = reading.result(30)
    assert "epoch 1/3" in text
    assert re.search(r"loss \d+\.\d+", text)
    assert re.search(r"epoch 2/3.*best ndcg@10 0\.\d+.*tokens/s.*left \d+:\d\d, at most \d+:\d\d", text)
    assert "epoch 3 of 3: loss" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is hidden and shown again"


def test_no_bar_where_it_is_switched_off(log_file, tmp_path):
    config = composed(
        *words(log_file, tmp_path)[:-1], f"trainer.max_epochs={EPOCHS}", "trainer.enable_progress_bar=false"
    )
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        fit_model(config, load_dataset(config), Run.create(tmp_path / "run", config))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_says_how_to_go_on(sent, status, capsys):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, report_how_to_resume(Path("runs/mine")):
        os.kill(os.getpid(), sent)
        time.sleep(5)
    assert end.value.code == status
    assert capsys.readouterr().err == "stopped; resume with: recsys train resume=runs/mine\n"
    assert signal.getsignal(signal.SIGTERM) == before


def heed_interrupts():
    """As on a terminal: what a shell runs in the background ignores them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_training_that_is_stopped_goes_on(log_file, tmp_path, sent, status):
    command, folder = [sys.executable, "-m", "recsys.cli.main", "train"], tmp_path / "run"
    more = [*words(log_file, folder), "trainer.max_epochs=100000"]
    process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    while not (folder / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    text = process.communicate(timeout=120)[1]
    assert process.returncode == status, text
    assert "Traceback" not in text
    assert text.splitlines()[-1] == f"stopped; resume with: recsys train resume={folder}"
    again = [*command, f"resume={folder}"]
    resumed = subprocess.Popen(again, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    assert resumed.stderr is not None
    first = next(line for line in resumed.stderr if line.startswith("epoch "))
    resumed.send_signal(sent)
    resumed.communicate(timeout=120)
    assert int(first.split()[1]) > 1


def answered(monkeypatch, capsys, *words):
    """What `recsys WORDS` prints, and its status."""
    monkeypatch.setattr(sys, "argv", ["recsys", *words])
    code = None
    try:
        main()
    except SystemExit as end:
        code = end.code
    return capsys.readouterr().out, code


@pytest.mark.parametrize("path", sorted(config_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_help_shows_every_setting_with_the_comment_of_its_file(path, monkeypatch, capsys):
    text, code = answered(monkeypatch, capsys, *path.stem.split("_"), "--help")
    assert code is None
    own = path.read_text().partition("\nhydra:")[0]
    for line in re.findall(r"^(\w+: .* # .*)$", own, re.MULTILINE):
        key, comment = re.fullmatch(r"(\w+): .*? # (.*)", line).groups()
        if key not in ("defaults", "split"):
            assert re.search(rf"^  {key}: .*  # {re.escape(comment)}$", text, re.MULTILINE), line


def test_help_shows_settings_as_they_would_be(monkeypatch, capsys):
    text, _ = answered(monkeypatch, capsys, "train", "model=sasrec", "model.dim=32", "--help")
    assert "popularity, recent_popularity, [sasrec], two_tower" in text
    assert "\n    dim: 32" in text
    assert "multiply item vectors by the square root of dim" in text
    _, code = answered(monkeypatch, capsys, "train", "model=sasrek", "--help")
    assert "Could not find 'model/sasrek'" in code


def test_commands_are_listed_and_a_slip_is_told(monkeypatch, capsys):
    text, code = answered(monkeypatch, capsys, "--help")
    assert code is None
    for path in config_dir().glob("*.yaml"):
        assert re.search(rf"^  {path.stem.replace('_', ' ')} +\w", text, re.MULTILINE)
    assert "did you mean 'recsys train'" in answered(monkeypatch, capsys, "trian", "model=sasrec")[1]
    assert "did you mean 'recsys abtest plan'" in answered(monkeypatch, capsys, "abtest", "plam")[1]


@pytest.mark.parametrize("word", ["plan", "assign", "analyze"])
def test_a_renamed_command_says_its_new_name(word, monkeypatch, capsys):
    text, code = answered(monkeypatch, capsys, "experiment", word, "effect=0.05")
    assert (text, code) == ("", f"error: 'recsys experiment {word}' is now 'recsys abtest {word}'")


def test_output_that_nobody_reads_is_no_error():
    command = f"'{sys.executable}' -m recsys.cli.main --help | head -1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert found.returncode in (0, 141)
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("command", "word", "message"),
    [
        ("train", "data.seed=many", "data.seed=many is invalid: expected a whole number"),
        ("train", "threads=all", "threads=all is invalid: expected a whole number or null"),
        ("train", "model.dim=1.5", "model.dim=1.5 is invalid: expected a whole number"),
        ("train", "optimizer.lr=fast", "optimizer.lr=fast is invalid: expected a number"),
        ("train", "data.features.user=age", "data.features.user=age is invalid: expected a list"),
        ("train", "data.columns.user=7", "expected text, such as data.columns.user='\"7\"'"),
        ("train", "split.quantile=true", "split.quantile=true is invalid: expected a number"),
        ("export", "users=perhaps run=x", "users=perhaps is invalid: expected true or false"),
        ("serve", "artefact=x limits.k=ten", "limits.k=ten is invalid: expected a whole number"),
        ("similar", "artefact=x item=y k=ten", "k=ten is invalid: expected a whole number"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_one_line(command, word, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    _, code = answered(monkeypatch, capsys, command, *word.split())
    assert message in str(code)
    assert "\n" not in str(code)


@pytest.mark.parametrize(
    ("value", "annotation", "least"), [(0, Positive, 1), (-1, Natural, 0), (-3, Positive | None, 1)]
)
def test_a_number_below_what_can_be_is_refused(value, annotation, least):
    assert type_mismatch(value, annotation) == f"a whole number ≥ {least}"
    assert type_mismatch(least, annotation) is None


def test_a_bound_changes_nothing_for_other_kinds():
    assert type_mismatch(None, Positive | None) is None
    assert type_mismatch(0.5, Positive) == "a whole number"


@pytest.mark.parametrize(
    "word", ["optimizer.lr=-1", "loss=gbce loss.calibration=2", "model.dropout=2", "trainer.max_epochs=-3"]
)
def test_what_a_class_refuses_is_told_as_a_setting(log_file, tmp_path, word):
    config = composed(*words(log_file, tmp_path)[:-1], *word.split())
    with pytest.raises(ConfigError):
        fit_model(config, load_dataset(config), Run.create(tmp_path, config))


@pytest.mark.parametrize("value", [1, 1.5, "u1", ["u1", 2], {"a": 1}, True, None])
def test_what_may_be_anything_is_never_refused(value):
    assert type_mismatch(value, Any) is None
    assert type_mismatch(value, Any | None) is None


TWO_LINES = """# What this file is for.
_target_: builtins.dict
defaults:
  # The group, in
  # two lines.
  - shape: round # with a choice
# A long comment that needs
#   two lines.
size: 3 # in cm

# A comment that a blank line separates from the next key.

colour: red
inner:
  # Above a key inside.
  depth: 1
"""


def test_comment_lines_above_a_key_and_the_comment_behind_it_belong_to_it(tmp_path):
    path = tmp_path / "thing.yaml"
    path.write_text(TWO_LINES)
    assert dict(_read_comments(path, "model")) == {
        "model.size": (("A long comment that needs", "  two lines."), "in cm"),
        "model.inner.depth": (("Above a key inside.",), ""),
    }


def test_help_shows_the_comment_lines_above_a_key_of_every_file(monkeypatch, capsys):
    text, _ = answered(monkeypatch, capsys, "train", "--help")
    for line in (config_dir() / "train.yaml").read_text().partition("\nhydra:")[0].splitlines()[1:]:
        if line.startswith("# "):
            assert f"\n  {line}\n" in text, line
    comments = (
        "\n  # Decay of the moving average of the weights, which is validated and kept; 0: no average; null: 0.997"
    )
    assert f"{comments}, but 0 with\n  # model.sparse=true.\n  ema: null\n" in text
