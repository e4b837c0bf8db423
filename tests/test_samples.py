"""Each bundled sample against its findings in `tests/golden/`, which people read. `python -m tests.test_samples` writes them anew."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from analyzer.readers import load, resolve
from analyzer.report.as_json import as_json
from analyzer.run import judge
from analyzer.samples import samples_folder
from instrument.policy import Policy
from instrument.store.connect import reading

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = sorted(p for p in samples_folder().iterdir() if p.suffix in (".jsonl", ".json"))
MUST_FIND = {
    "healthy_research": None,
    "healthy_release": None,
    "loop_repeated_call": "repeated_call",
    "errors_cascade": ["retry_storm", "error_cascade"],
    "context_overflow": "context_growth",
    "hallucinated_tool": "unknown_tool",
    "stuck_repeated_output": "repeated_output",
    "cost_outlier": "cost_outlier",
    "guarded_runs": "repeated_call",
    "public_openinference": None,
    "public_openllmetry": None,
    "public_pydantic_ai": None,
    "public_vercel_ai_v6": None,
}


def name_of(path: Path) -> str:
    return path.name.split(".")[0]


def judged(path: Path, scratch: Path) -> dict[str, Any]:
    database = scratch / f"{name_of(path)}.duckdb"
    _, refusals = load(resolve([str(path)]), database)
    assert refusals == []
    with reading(database) as con:
        document: dict[str, Any] = json.loads(as_json(judge(con, Policy())))
    return document


def test_every_sample_is_listed_here_and_in_the_readme():
    assert {name_of(p) for p in SAMPLES} == set(MUST_FIND)
    readme = (samples_folder() / "README.md").read_text("utf-8")
    assert [p.name for p in SAMPLES if f"`{p.name}`" not in readme] == []


def test_every_number_the_readme_promises_is_in_the_golden_file():
    promised = dict(
        re.findall(
            r"^\| `([^`]+)` \|[^|]*\| ([^|]*) \|$", (samples_folder() / "README.md").read_text("utf-8"), re.MULTILINE
        )
    )
    assert set(promised) == {p.name for p in SAMPLES}
    for file, words in promised.items():
        golden = json.loads((GOLDEN / f"{file.split('.')[0]}.json").read_text("utf-8"))
        said = " ".join([f["message"] for f in golden["findings"]] + [str(v) for v in golden["totals"].values()])
        for number in re.findall(r"\d[\d,.]*\d|\d", words):
            assert re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d|,\d)", said), (file, number)


@pytest.mark.parametrize("path", SAMPLES, ids=name_of)
def test_a_sample_gives_exactly_the_findings_of_its_golden_file(path: Path, tmp_path: Path):
    found = judged(path, tmp_path)
    wanted = MUST_FIND[name_of(path)]
    assert [f["detector"] for f in found["findings"]] == (
        wanted if isinstance(wanted, list) else [wanted] if wanted else []
    )
    golden = json.loads((GOLDEN / f"{name_of(path)}.json").read_text("utf-8"))
    assert {k: found[k] for k in golden} == golden, "if this is meant: python -m tests.test_samples, and read the diff"


def test_the_instrumentors_agree_on_calls_tokens_and_dollars(tmp_path: Path):
    """The same four conversations, recorded through two instrumentors beside the SDK's own spans."""
    totals = [
        judged(p, tmp_path)["totals"] for p in SAMPLES if name_of(p) in ("public_openinference", "public_openllmetry")
    ]
    # What was not counted twice is told as it was reported, and OpenLLMetry counts a few output tokens of streams too many.
    reported = ("duplicate_tokens", "duplicate_cost_usd")
    one, other = ({name: total for name, total in t.items() if name not in reported} for t in totals)
    assert one == other
    assert totals[0]["model_calls"] == totals[0]["duplicate_model_calls"] == 13


def write(scratch: Path) -> None:
    for path in SAMPLES:
        document = judged(path, scratch)
        kept = {key: document[key] for key in ("findings", "outcomes", "totals")}
        kept |= {key: document[key] for key in ("guard_actions", "stops") if document[key]}
        (GOLDEN / f"{name_of(path)}.json").write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
