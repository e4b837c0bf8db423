"""`make accuracy`: measures every detector and writes docs/accuracy.md, docs/accuracy.json and the detectors' pages."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import orjson

from analyzer import docs
from benchmarks.accuracy.measure import EVALUATION_SEED, measured
from benchmarks.accuracy.page import numbers, page

_ROOT = Path(__file__).parents[2]


def main() -> int:
    """Takes some minutes with 100 samples of each side; `neighbours` says what else can be measured beside."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--each", type=int, default=100, help="failing samples per class, and as many healthy ones")
    options.add_argument("--seed", type=int, default=EVALUATION_SEED)
    options.add_argument(
        "--traces",
        type=Path,
        default=_ROOT.parent / "shared" / "traces",
        help="a collection of traces, if there is one",
    )
    options.add_argument("--dry", action="store_true", help="print the page and write nothing")
    told = options.parse_args()
    found = measured(told.seed, told.each, told.traces)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    text = page(found, date)
    print(text)
    if not told.dry:
        (_ROOT / "docs" / "accuracy.md").write_text(text, "utf-8")
        (_ROOT / "docs" / "accuracy.json").write_bytes(
            orjson.dumps(numbers(found, date), option=orjson.OPT_INDENT_2) + b"\n"
        )
        docs.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
