"""What the scripts of other libraries share: settings, a clock of optimizer steps, one line of JSON."""

import argparse
import json
import os
import resource
import sys
import time

import numpy as np


class StopTraining(Exception):  # noqa: N818 - not an error
    """Ends training after the last step that is measured."""


def parse_settings(**more):
    parser = argparse.ArgumentParser()
    parser.add_argument("events", help="Parquet: user, item, time")
    sizes = {"steps": 10, "threads": 1, "length": 200, "dim": 64, "batch": 128, "answers": 20}
    for name, default in (sizes | more).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--loss", choices=["softmax", "sampled"], default="softmax")
    parser.add_argument("--negatives", type=int, default=256)
    settings = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS", "ARROW_IO_THREADS"):
        os.environ[name] = str(settings.threads)
    return settings


class StepClock:
    """Records the CPU-seconds of this process at every step of any torch optimizer."""

    def __init__(self, settings):
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.threads, self.n, self.steps = settings.threads, settings.steps, []
        self.load = os.getloadavg()[0]
        torch.set_num_threads(settings.threads)
        register_optimizer_step_post_hook(self.record_step)

    def record_step(self, *_):
        self.steps.append(time.process_time())
        if len(self.steps) >= self.n:
            raise StopTraining

    def print_figures(self, name, tokens_per_step, recommend, n_users, answer, answers):
        figures = {
            "name": name,
            "threads": self.threads,
            "steps": len(self.steps),
            "tokens_per_cpu_s": round(tokens_per_step * (len(self.steps) - 1) / (self.steps[-1] - self.steps[0])),
            "first_step_cpu_s": round(self.steps[0], 2),
            "train_rss_mb": peak_rss_mb(),
        }
        start = time.process_time()
        recommend()
        figures["listed_users_per_cpu_s"] = round(n_users / (time.process_time() - start), 1)
        figures["rank_rss_mb"] = peak_rss_mb()
        if answers:
            answer()
            spent = []
            for _ in range(answers):
                start = time.process_time()
                answer()
                spent.append(time.process_time() - start)
            figures["answer_cpu_ms"] = round(1e3 * float(np.median(spent)), 3)
        sys.stdout.write(json.dumps(figures | {"load": [self.load, os.getloadavg()[0]]}) + "\n")


def print_preparation(name, events):
    """Prints the line of a process that prepared a log."""
    spent = {"prepare_cpu_s": round(time.process_time(), 2), "prepare_rss_mb": peak_rss_mb()}
    sys.stdout.write(json.dumps({"name": name, "events": events, **spent}) + "\n")


def peak_rss_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def count_tokens_per_step(events, settings):
    """Returns the real positions of an average batch: the last event of a row is only a target."""
    lengths = events.groupby("user").size().to_numpy() - 1
    return settings.batch * float(np.minimum(lengths, settings.length).mean())


QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}
