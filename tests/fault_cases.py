"""What people hand in by mistake, and a pattern of what they are told."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from tests.planted import START

Event = tuple[object, object, object]
HEADER = "user,item,timestamp\n"
EVENTS: list[Event] = [(f"u{n % 20}", f"i{(n * 7 + n // 20) % 9}", START + n) for n in range(200)]


@dataclass(frozen=True)
class Fault:
    """A mistake: the log, a pattern that the answer holds, more words of the command, its exit status."""

    name: str
    log: str | bytes | pd.DataFrame
    answer: str
    words: tuple[str, ...] = ()
    code: int = 0


def csv(events: list[Event] = EVENTS, header: str = HEADER) -> str:
    """A log as text."""
    return header + "".join(f"{user},{item},{moment}\n" for user, item, moment in events)


def times(change: Callable[[int, int], object]) -> str:
    """The log with other times: `change` takes the number of the row and its second."""
    return csv([(user, item, change(n, START + n)) for n, (user, item, _) in enumerate(EVENTS)])


def day(n: int) -> int:
    """1 to 28."""
    return 1 + n % 28


REFUSED = [
    Fault(
        "a column is missing",
        csv(header="customer,item,timestamp\n"),
        "column 'user' is missing from the events; there are: customer, item, timestamp; name yours under",
    ),
    Fault("an empty file", "", "log.csv' has no header in its first line"),
    Fault("a header alone", HEADER, "no usable event among 0 read: the source is empty"),
    Fault(
        "ids as floats above 2^53",
        pd.DataFrame({"user": [2.0**53 + 2], "item": ["i"], "timestamp": [START]}),
        r"user id 9007199254740994.0 is a fractional or over-large float; .* read ids as text",
    ),
    Fault(
        "no time can be read",
        times(lambda n, t: f"{day(n)}.12.2024"),
        r"no usable event among 200 read: 200 unreadable_timestamp; see data.columns and data.clock",
    ),
    Fault(
        "bad UTF-8",
        csv().encode().replace(b"u7", b"u\xff", 1),
        r"log.csv': .* Line: 9 .* not utf-8 encoded.*fix the source",
    ),
    Fault(
        "a line with a field too many", csv().replace("u3,", "u3,x,", 1), r"log.csv': .* Line: 5 .* Columns: 3 Found: 4"
    ),
    Fault(
        "no such file",
        "",
        r"nowhere.csv' does not exist; set data.source.path to your file",
        ("data.path=nowhere.csv",),
    ),
    Fault("no path", "", r"data.path is not set; write data.path=VALUE", ("data.path=???",)),
    Fault(
        "an unknown setting",
        csv(),
        r"Could not override 'model.droput'; every setting: recsys train --help",
        ("model.droput=0.5",),
    ),
    Fault(
        "an unknown setting, added by force",
        csv(),
        r"unknown setting 'model.droput' of .*; it takes: ",
        ("+model.droput=0.5",),
    ),
    Fault(
        "an unknown model",
        csv(),
        r"Could not find 'model/two_towers', Available options in 'model': ease, .*two_tower",
        ("model=two_towers",),
    ),
    Fault(
        "an unknown unit of time", csv(), "time unit 'h' is unknown; use auto, s, ms, us, ns", ("data.clock.unit=h",)
    ),
    Fault(
        "an unknown time zone",
        csv(),
        "time zone 'Mars' is unknown; write data.clock.zone like Europe/Berlin",
        ("data.clock.zone=Mars",),
    ),
    Fault("k above the number of items", csv(), "k=50 is larger than the catalogue of 9 items; lower ks", ("ks=[50]",)),
    Fault("lists of no item", csv(), r"ks=\[0\] must hold lengths of lists, 1 or more", ("ks=[0]",)),
    Fault(
        "batches of nobody",
        csv(),
        "batches.batch_size=0 is invalid: expected a whole number ≥ 1",
        ("batches.batch_size=0",),
    ),
    Fault("a negative seed", csv(), "seed=-1 is invalid: expected a whole number ≥ 0", ("seed=-1",)),
    Fault(
        "a split by time without times",
        csv(),
        "split=global_time needs times; name the column under data.columns.timestamp",
        ("split=global_time", "data.columns.timestamp=null"),
    ),
    Fault(
        "refunds without a column of types",
        csv(),
        "data.refund_events needs a column 'event'",
        ("data.refund_events=[refund]",),
    ),
    Fault(
        "a file where the data folder should be",
        csv(),
        r"dataset '.*' cannot be written \(.*Not a directory.*choose another data.folder",
        ("data.folder=log.csv",),
    ),
    Fault(
        "a file where the run folder should be",
        csv(),
        r"the run folder cannot be made \(.*File exists.*choose another hydra.run.dir",
        ("hydra.run.dir=log.csv",),
    ),
]
COUNTED = [
    Fault("one user", csv([("u", item, t) for _, item, t in EVENTS]), "200 read, 200 kept, .* 200 events"),
    Fault("one item", csv([(user, "i", t) for user, _, t in EVENTS]), "200 read, 200 kept, .* 200 events", ("ks=[1]",)),
    Fault(
        "every 50th user missing",
        csv([("" if n % 50 == 0 else u, i, t) for n, (u, i, t) in enumerate(EVENTS)]),
        "200 read, 196 kept, 4 missing_user",
    ),
    Fault("the log twice in one file", csv(EVENTS + EVENTS), "400 read, 400 kept"),
    Fault(
        "words among the times",
        times(lambda n, t: "yesterday" if n % 40 == 0 else t),
        "200 read, 195 kept, 5 unreadable_timestamp",
    ),
    Fault(
        "ISO times with Z, +05:30 and without a zone",
        times(lambda n, t: f"2024-01-{day(n):02}T10:00:00" + ("Z", "+05:30", "")[n % 3]),
        "200 read, 200 kept",
    ),
    Fault(
        "seconds, a tenth of them milliseconds",
        times(lambda n, t: t * 1000 if n % 10 == 0 else t),
        "200 read, 180 kept, 20 timestamp_before_1970_or_in_future",
    ),
    Fault(
        "milliseconds, a tenth of them seconds",
        times(lambda n, t: t if n % 10 == 0 else t * 1000),
        "200 read, 180 kept, 20 unreadable_timestamp",
    ),
    Fault("days written 20240131", times(lambda n, t: 20240100 + day(n)), "200 read, 200 kept"),
    Fault(
        "days written 20240131, a tenth of them seconds",
        times(lambda n, t: t if n % 10 == 0 else 20240100 + day(n)),
        "200 read, 180 kept, 20 unreadable_timestamp",
    ),
]
