"""Entry points: `recsys train …` and `python scripts/train.py …`, a few lines each; heavy imports come late."""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys.cli.signals import INTERRUPTED, exit_on_closed_pipe, resumable
from recsys.config.build import build
from recsys.config.settings import (
    check_command_settings,
    check_required_settings,
    check_settings,
    config_dir,
    error_line,
)
from recsys.errors import ConfigError
from recsys.extras import require_extra

if TYPE_CHECKING:
    from recsys.run import Run

Job = Callable[[DictConfig], object]
PLAIN = [
    "hydra/hydra_logging=none",
    "hydra/job_logging=none",
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
]
"""of commands that leave no folder of Hydra's"""
RENAMED_COMMANDS = {f"experiment {word}": f"abtest {word}" for word in ("plan", "assign", "analyze")}


def main() -> None:
    """`recsys COMMAND …`: a command is a file of configs/, of one word or two, and its settings are Hydra's words."""
    names = sorted(path.stem for path in config_dir().glob("*.yaml"))
    words = sys.argv[1:]
    name = next((name for name in ("_".join(words[:2]), *words[:1]) if name in names), None)
    if name is None:
        _unknown(names, words)
    sys.argv = [f"recsys {name.replace('_', ' ')}", *words[1 + name.count("_") :]]
    run_command(name)


def _unknown(names: list[str], words: list[str]) -> NoReturn:
    from recsys.cli.help import list_commands

    if words in (["--help"], ["-h"]):
        _say(list_commands())
        sys.exit()
    if new_name := RENAMED_COMMANDS.get(" ".join(words[:2])):
        sys.exit(f"error: 'recsys {' '.join(words[:2])}' is now 'recsys {new_name}'")
    asked = [" ".join(words[:n]) for n in (1, 2)]
    near = [found for word in asked for found in difflib.get_close_matches(word.replace(" ", "_"), names, 1)]
    hint = f"did you mean 'recsys {near[0].replace('_', ' ')}'?" if near else "recsys --help lists them"
    sys.exit(f"error: recsys has no command '{words[0]}'; {hint}" if words else list_commands())


def run_command(name: str) -> None:
    """The command's job, which is the function that its file names where it is none of ours below."""
    if {"--help", "-h"} & set(sys.argv):
        _help(name, sys.argv[1:])
        return
    if name == "train":
        _in_resumed_folder()
    else:
        first = next((n for n, word in enumerate(sys.argv[1:], 1) if re.match(r"[^-].*=", word)), len(sys.argv))
        sys.argv[first:first] = PLAIN  # before the words that may change it, and not apart from them by an option
    _hydra(JOBS.get(name, _built), name)


def _help(name: str, words: list[str]) -> None:
    from recsys.cli.help import help_text

    words = [re.sub(r"^--config-dir=(.*)", r"hydra.searchpath=[\1]", word) for word in words]
    words = [word for word in words if not word.startswith("-")]
    try:
        _say(help_text(name, words))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error_line(error)}")


def _say(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201 - what was asked for
    except BrokenPipeError:
        exit_on_closed_pipe()


def _train(config: DictConfig) -> None:
    from recsys.errors import DataError
    from recsys.run import Run
    from recsys.training.distributed import process_rank
    from recsys.training.train import train_run as job

    if process_rank() > 0:
        _help_training(config)
        return
    run = Run.create(_output_dir(), config) if config.resume is None else Run.open(config.resume)
    with resumable(run.folder):
        try:
            job(run)
        except (ConfigError, DataError):
            if config.resume is None:
                run.discard()  # nothing was trained: mended input may take the same folder
            raise
        if run.config.get("export"):
            _write_file(run, _defaults("export"))


def _help_training(config: DictConfig) -> None:
    """Train beside the first process, which alone leaves anything behind."""
    from recsys.run import Run
    from recsys.training.train import train_run as job

    if config.resume is not None:
        job(Run.open(config.resume))
        return
    with TemporaryDirectory() as folder:
        job(Run.create(Path(folder), config))
    with suppress(OSError):  # what Hydra made for this process: empty, unless it is the first one's
        _output_dir().rmdir()


def _evaluate(config: DictConfig) -> None:
    from recsys.evaluation.run import evaluate_run as job
    from recsys.run import Run

    job(Run.open(config.run), config.segments)


def _export(config: DictConfig) -> None:
    from recsys.run import Run

    _write_file(Run.open(config.run), config)


def _serve(config: DictConfig) -> None:
    with require_extra("serve"):
        from recsys.serving.serve import serve as job

    settings: Any = OmegaConf.to_container(config, resolve=True)
    middleware = {name: build(OmegaConf.create(part)) for name, part in settings["parts"].items()}
    job(**settings | {"parts": middleware})


def _built(config: DictConfig) -> None:
    """Runs the function that the command's file names: `_target_` takes its settings as parameters, `_job_` the whole
    configuration and the overrides on the command line.
    """
    if "_job_" in config:
        from hydra.core.hydra_config import HydraConfig

        lines = get_object(config._job_)(config, list(HydraConfig.get().overrides.task))
    else:
        check_settings(config)
        lines = build(config)
    for line in lines or ():
        _say(line)


def _write_file(run: "Run", config: DictConfig) -> None:
    from recsys.export.export import export_run as job

    job(run, config)


def _defaults(name: str) -> DictConfig:
    """A command's own settings as they stand in its file."""
    config = OmegaConf.load(config_dir() / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    return config


def _hydra(job: Job, name: str) -> None:
    """Run a job with its configuration; wrong input ends in one line and status 1, not in a traceback."""

    def guarded(config: DictConfig) -> None:
        from recsys.errors import DataError

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        try:
            check_required_settings(config)
            check_command_settings(config, name)
            job(config)
        except BrokenPipeError:
            exit_on_closed_pipe()
        except (ConfigError, DataError, FloatingPointError, OSError) as error:
            sys.exit(f"error: {error}")

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would print over many lines
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(guarded)()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error_line(error)}; every setting: recsys {name.replace('_', ' ')} --help")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        sys.exit(f"error: the run folder cannot be made ({error}); choose another hydra.run.dir")


def _output_dir() -> Path:
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir)


def _in_resumed_folder() -> None:
    """With resume=RUN nothing else can be set, and Hydra's own folder is that run's."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    resumed = [word for word in words if word.startswith("resume=") and word != "resume=null"]
    if not resumed:
        return
    if len(words) > 1:
        sys.exit(f"error: resume= takes the run's own configuration; leave out {' '.join(set(words) - set(resumed))}")
    sys.argv.append(f"hydra.run.dir={resumed[0].partition('=')[2]}")


JOBS: dict[str, Job] = {
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
    "serve": _serve,
}

if __name__ == "__main__":
    main()
