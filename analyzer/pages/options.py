"""What the app was asked to open: `--db FILE`, paths of traces, `FLYBALL_DB`, or nothing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyzer.samples import NAME, samples_folder


@dataclass(frozen=True, slots=True)
class Options:
    """A database, or paths of traces to read first; never both."""

    db: Path | None = None
    paths: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What is open, in a word."""
        if self.db:
            return self.db.name
        names = [Path(path).name or path for path in self.paths]
        return "sample traces" if names == [NAME] else ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """The options of a command line. A path that is a database counts as `--db`; without anything it is the samples.

    Raises `SystemExit` (as argparse does) on what it does not know.
    """
    parser = argparse.ArgumentParser(prog="streamlit run app.py --", allow_abbrev=False)
    parser.add_argument("--db", type=Path, help="database written by flyball; default: $FLYBALL_DB")
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="trace files or folders, read into a temporary database"
    )
    given = parser.parse_args(list(arguments))
    if given.db and given.paths:
        parser.error("give either --db or trace files, or add the files first: flyball load PATH... --db FILE")
    if len(given.paths) == 1 and given.paths[0].endswith(".duckdb"):
        return Options(db=Path(given.paths[0]))
    if given.paths:
        return Options(paths=tuple(given.paths))
    db = given.db or (Path(environment["FLYBALL_DB"]) if environment.get("FLYBALL_DB") else None)
    return Options(db=db) if db else Options(paths=(str(samples_folder()),))
