"""Entry points: `recsys train …` and `python scripts/train.py …`, a few lines each; heavy imports come late."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys.config import ConfigError, build, complete, config_dir, one_line

if TYPE_CHECKING:
    from recsys.run import Run

Job = Callable[[DictConfig], object]


def main() -> None:
    """`recsys COMMAND …`: the command's words are Hydra's."""
    commands = {command.__name__: command for command in (train, evaluate, export, serve, recommend, benchmark)}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        words = f"usage: recsys {{{','.join(commands)}}} [group=choice] [key=value] …; recsys train --help"
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"]) and print(words) is None else words)  # noqa: T201
    sys.argv = [f"recsys {sys.argv[1]}", *sys.argv[2:]]
    commands[Path(sys.argv[0]).name.split()[-1]]()


def train() -> None:
    """Train a model, rank it beside the baselines, leave a run folder."""
    _in_resumed_folder()
    _hydra(_train, "train")


def evaluate() -> None:
    """Rank a trained run again."""
    _hydra(_evaluate, "evaluate")


def export() -> None:
    """Write the one file of a trained run that serves it."""
    _hydra(_export, "export")


def serve() -> None:
    """Answer over HTTP from one exported file."""
    _hydra(_serve, "serve")


def recommend() -> None:
    """Lists for a Parquet file of users."""
    _hydra(_recommend, "recommend")


def benchmark() -> None:
    """Figures of docs/benchmarks.md."""
    _hydra(_benchmark, "benchmark")


def _train(config: DictConfig) -> None:
    from recsys.data.schema import DataError
    from recsys.run import Run
    from recsys.training.job import train as job

    if config.resume is None:
        run = Run.create(_output_dir(), config)
        try:
            job(run)
        except (ConfigError, DataError):
            run.discard()  # nothing was trained: mended input may take the same folder
            raise
    else:
        run = Run.open(config.resume)
        job(run)
    if run.config.get("export"):
        _write_file(run, _defaults("export"))


def _evaluate(config: DictConfig) -> None:
    from recsys.run import Run
    from recsys.training.job import evaluate as job

    job(Run.open(config.run))


def _export(config: DictConfig) -> None:
    from recsys.run import Run

    _write_file(Run.open(config.run), config)


def _serve(config: DictConfig) -> None:
    try:
        from recsys.serving.job import serve as job
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed; run: pip install 'recsys[serve]'") from error

    job(**OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


def _recommend(config: DictConfig) -> None:
    from recsys.bulk import recommend as job
    from recsys.run import Run

    asked = {"k": config.k, "exclude_seen": config.exclude_seen}
    paths = Run.open(config.run), Path(config.users), Path(config.out)
    job(*paths, asked, config.timestamp, config.batch_size, config.threads)


def _benchmark(config: DictConfig) -> None:
    for line in build(config.task):
        print(line)  # noqa: T201 - the command's answer


def _write_file(run: "Run", config: DictConfig) -> None:
    from recsys.export.job import export as job

    job(run, config)


def _defaults(name: str) -> DictConfig:
    """A command's own settings as they stand in its file."""
    config = OmegaConf.load(config_dir() / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    return config


def _hydra(job: Job, name: str) -> None:
    """Run a job with its configuration; wrong input ends in one line and status 1, not in a traceback."""

    def guarded(config: DictConfig) -> None:
        from recsys.data.schema import DataError

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        try:
            complete(config)
            job(config)
        except (ConfigError, DataError, FloatingPointError, OSError) as error:
            sys.exit(f"error: {error}")

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would print over many lines
    try:
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(guarded)()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {one_line(error)}; every setting: recsys {name} --help")
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


if __name__ == "__main__":
    main()
