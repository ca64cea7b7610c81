"""Entry points: `recsys train …` and `python scripts/train.py …`; heavy imports happen only when a command runs."""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys.cli.signals import INTERRUPTED, exit_on_closed_pipe, report_how_to_resume
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

Job = Callable[[DictConfig], object]
WITHOUT_HYDRA_FOLDER = [
    "hydra/hydra_logging=none",
    "hydra/job_logging=none",
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
]
"""overrides for commands that need no output folder of Hydra"""
RENAMED_COMMANDS = {f"experiment {word}": f"abtest {word}" for word in ("plan", "assign", "analyze")}


def main() -> None:
    """Run `recsys COMMAND …`: COMMAND is the name of a file in configs/, as one or two words, followed by overrides."""
    names = sorted(path.stem for path in config_dir().glob("*.yaml"))
    words = sys.argv[1:]
    name = next((name for name in ("_".join(words[:2]), *words[:1]) if name in names), None)
    if name is None:
        _exit_unknown_command(names, words)
    sys.argv = [f"recsys {name.replace('_', ' ')}", *words[1 + name.count("_") :]]
    run_command(name)


def _exit_unknown_command(names: list[str], words: list[str]) -> NoReturn:
    from recsys.cli.help import list_commands

    if words in (["--help"], ["-h"]):
        _print_line(list_commands())
        sys.exit()
    if new_name := RENAMED_COMMANDS.get(" ".join(words[:2])):
        sys.exit(f"error: 'recsys {' '.join(words[:2])}' is now 'recsys {new_name}'")
    if not words:
        sys.exit(list_commands())
    typed = ["_".join(words[:n]) for n in (1, 2)]
    similar = [name for word in typed for name in difflib.get_close_matches(word, names, 1)]
    hint = f"did you mean 'recsys {similar[0].replace('_', ' ')}'?" if similar else "recsys --help lists all commands"
    sys.exit(f"error: recsys has no command '{words[0]}'; {hint}")


def run_command(name: str) -> None:
    """Run a command: one of JOBS, or else the function that the `_target_` of its YAML file names."""
    if {"--help", "-h"} & set(sys.argv):
        _print_help(name, sys.argv[1:])
        return
    if name == "train":
        _use_resumed_folder()
    else:
        first = next((n for n, word in enumerate(sys.argv[1:], 1) if re.match(r"[^-].*=", word)), len(sys.argv))
        sys.argv[first:first] = WITHOUT_HYDRA_FOLDER  # first, so that later words may change it
    _run_with_hydra(JOBS.get(name, _build_and_print), name)


def _print_help(name: str, words: list[str]) -> None:
    from recsys.cli.help import help_text

    words = [re.sub(r"^--config-dir=(.*)", r"hydra.searchpath=[\1]", word) for word in words]
    words = [word for word in words if not word.startswith("-")]
    try:
        _print_line(help_text(name, words))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error_line(error)}")


def _print_line(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201 - the command's answer
    except BrokenPipeError:
        exit_on_closed_pipe()


def _train(config: DictConfig) -> None:
    from recsys.errors import DataError
    from recsys.export.export import export_run
    from recsys.run import Run
    from recsys.training.distributed import process_rank
    from recsys.training.train import train_run

    if process_rank() > 0:
        _train_without_output(config)
        return
    run = Run.create(_output_dir(), config) if config.resume is None else Run.open(config.resume)
    with report_how_to_resume(run.folder):
        try:
            train_run(run)
        except (ConfigError, DataError):
            if config.resume is None:
                run.discard()  # nothing was trained: a corrected command may use the same folder
            raise
        if run.config.get("export"):
            export_run(run, _load_defaults("export"))


def _train_without_output(config: DictConfig) -> None:
    """Train together with the first process, which alone writes the run."""
    from recsys.run import Run
    from recsys.training.train import train_run

    if config.resume is not None:
        train_run(Run.open(config.resume))
        return
    with TemporaryDirectory() as folder:
        train_run(Run.create(Path(folder), config))
    with suppress(OSError):  # the folder that Hydra created is empty, unless it is that of the first process
        _output_dir().rmdir()


def _evaluate(config: DictConfig) -> None:
    from recsys.evaluation.evaluate_run import evaluate_run
    from recsys.run import Run

    evaluate_run(Run.open(config.run), config.segments)


def _export(config: DictConfig) -> None:
    from recsys.export.export import export_run
    from recsys.run import Run

    export_run(Run.open(config.run), config)


def _serve(config: DictConfig) -> None:
    with require_extra("serve"):
        from recsys.serving.serve import serve

    settings: Any = OmegaConf.to_container(config, resolve=True)
    middleware = {name: build(OmegaConf.create(node)) for name, node in settings["parts"].items()}
    serve(**settings | {"parts": middleware})


def _build_and_print(config: DictConfig) -> None:
    """Run the function that the command's YAML names and print its lines.

    `_target_` takes the settings as parameters; `_job_` takes the whole configuration and the overrides of the command
    line.
    """
    if "_job_" in config:
        from hydra.core.hydra_config import HydraConfig

        lines = get_object(config._job_)(config, list(HydraConfig.get().overrides.task))
    else:
        check_settings(config)
        lines = build(config)
    for line in lines or ():
        _print_line(line)


def _load_defaults(name: str) -> DictConfig:
    """The default settings of a command, from its YAML file."""
    config = OmegaConf.load(config_dir() / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    return config


def _run_with_hydra(job: Job, name: str) -> None:
    """Run a job with its settings; wrong input ends in one line and status 1, not in a traceback."""

    def run_job(config: DictConfig) -> None:
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

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises errors instead of printing many lines
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(run_job)()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error_line(error)}; every setting: recsys {name.replace('_', ' ')} --help")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        sys.exit(f"error: the run folder cannot be made ({error}); choose another hydra.run.dir")


def _output_dir() -> Path:
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir)


def _use_resumed_folder() -> None:
    """Make the folder of resume=RUN the output folder; exits if anything else is set with it."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    resume = [word for word in words if word.startswith("resume=") and word != "resume=null"]
    if not resume:
        return
    if len(words) > 1:
        sys.exit(f"error: resume= uses the settings of the run; leave out {' '.join(set(words) - set(resume))}")
    sys.argv.append(f"hydra.run.dir={resume[0].partition('=')[2]}")


JOBS: dict[str, Job] = {
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
    "serve": _serve,
}

if __name__ == "__main__":
    main()
