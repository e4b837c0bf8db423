"""What tells a list of questions from one question, and what is said where nobody can tell."""

import orjson
import polars as pl
import pytest

from analyzer.cases import Case, says, tool_call
from analyzer.detectors.near_repeat.batches import batches
from analyzer.run import judge

_UUIDS = [f"{n:08x}-1111-4222-8333-444444444444" for n in range(1, 7)]


@pytest.mark.parametrize(
    ("asked", "batch"),
    [
        ([{"order_id": u} for u in _UUIDS], True),
        ([{"request_id": u} for u in _UUIDS], False),
        ([{"user": 1_000_000_000 + n} for n in range(6)], True),
        ([{"ts": 1_790_000_000 + n} for n in range(6)], False),
        ([{"date": f"2026-04-0{n}"} for n in range(1, 7)], True),
        ([{"q": f"rooms on 2026-04-0{n}"} for n in range(1, 7)], False),
        ([{"order_id": _UUIDS[0], "nonce": n} for n in range(6)], False),
        ([{"sha": f"deadbee{n}"} for n in range(6)], True),
    ],
)
def test_a_list_of_ids_or_days_is_told_from_what_is_passing(asked: list[dict[str, object]], batch: bool) -> None:
    calls = pl.DataFrame({"number": 0, "arguments": [orjson.dumps(a).decode() for a in asked]}).with_columns(
        pl.col("number").cast(pl.UInt32)
    )
    assert batches(calls)["batch"].to_list() == [batch]


def test_where_one_wording_is_not_known_nobody_can_tell() -> None:
    calls = pl.DataFrame({"number": [0, 0], "arguments": ['{"q": 1}', None]})
    assert batches(calls)["batch"].to_list() == [None]


def test_of_hashed_content_a_loop_is_found_with_less_confidence() -> None:
    case = Case("n", [*[tool_call("search", {"q": "x", "nonce": n}, "none") for n in range(6)], says("None.")], [])
    full, hashed = (judge(case.load(d), select=["near_repeat"]).findings[0] for d in ("gen_ai", "hashed"))
    assert (full.confidence, hashed.confidence) == (0.9, 0.75)
    assert (full.first_turn, full.last_turn) == (hashed.first_turn, hashed.last_turn) == (1, 6)
