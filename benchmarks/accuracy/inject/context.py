"""Contexts that grow, overflow, are filled by one result, or lose their cache; and what only looks like it. A window has 200,000 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from analyzer.cases import Call, Turn
from benchmarks.accuracy.healthy import pieces
from benchmarks.accuracy.script import MODEL, RECORDED, SPANS, Placed, Plan
from benchmarks.accuracy.spending import Spent, lost_from_cache_usd
from benchmarks.accuracy.surface import said, text

_WINDOW: Final = 200_000
_MODELS: Final = ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5")


def _real(rng: Random, count: int) -> list[Turn]:
    """So many turns of a real run, without its user."""
    found: list[Turn] = []
    while len(found) < count:
        found += [e for e in rng.choice(pieces()).script if isinstance(e, Turn)]
    return found[:count]


def _quiet(*turns: Turn) -> list[Placed]:
    return [Placed(t) for t in turns]


# --- context_growth -----------------------------------------------------------------------------------------------------


def _climb(rng: Random, first: float, last: float, turns: int) -> list[int]:
    """Input tokens that grow evenly from one share of the window to another."""
    wobble = (last - first) / max(1, turns - 1) * 0.3
    shares = [
        first + (last - first) * n / max(1, turns - 1) + (rng.uniform(0, wobble) if 0 < n < turns - 1 else 0)
        for n in range(turns)
    ]
    return [int(s * _WINDOW) for s in shares]


def _grown(
    rng: Random,
    kind: str,
    tokens: Sequence[int],
    proof: range,
    severity: str | None,
    model: str | None = None,
    answer: int = 300,
) -> Plan:
    name = model or rng.choice(_MODELS)
    turns = [
        Placed(replace(t, input_tokens=size, model=name), (MODEL,) if n in proof else ())
        for n, (t, size) in enumerate(zip(_real(rng, len(tokens)), tokens, strict=True))
    ]
    ending = [Placed(Turn(text="That is what I found.", input_tokens=max(1, tokens[-1] - answer), model=name))]
    return Plan(kind=kind, stretch=turns, severity=severity, place="whole", ending=ending, wastes=False)


def near_full(rng: Random) -> Plan:
    """Grows to seven tenths of the window and more."""
    peak, turns = rng.uniform(0.71, 0.985), rng.randint(3, 30)
    tokens = _climb(rng, rng.uniform(0.01, 0.3), peak, turns)
    return _grown(rng, "near the window", tokens, range(turns), "error" if tokens[-1] >= 0.9 * _WINDOW else "warning")


def compacted(rng: Random) -> Plan:
    """Near the window, and then compacted."""
    peak, turns = rng.uniform(0.72, 0.98), rng.randint(3, 12)
    tokens = _climb(rng, 0.1, peak, turns)
    rest = _climb(rng, 0.08, 0.2, rng.randint(2, 6))
    return _grown(
        rng,
        "compacted after the peak",
        [*tokens, *rest],
        range(turns),
        "warning" if tokens[-1] >= 0.9 * _WINDOW else "info",
    )


def second_climb(rng: Random) -> Plan:
    """Compacted once, and near the window again."""
    before = _climb(rng, 0.05, rng.uniform(0.5, 0.65), rng.randint(3, 8))
    peak, turns = rng.uniform(0.72, 0.98), rng.randint(4, 12)
    tokens = _climb(rng, 0.1, peak, turns)
    place = range(len(before), len(before) + turns)
    return _grown(
        rng, "after a compaction", [*before, *tokens], place, "error" if tokens[-1] >= 0.9 * _WINDOW else "warning"
    )


def steady(rng: Random) -> Plan:
    """Half full and steady."""
    return _grown(rng, "half full and steady", _climb(rng, 0.5, 0.53, rng.randint(5, 20)), range(0), None)


def growing_small(rng: Random) -> Plan:
    """Grows many times over and stays small."""
    return _grown(
        rng, "grows and stays small", _climb(rng, 0.005, rng.uniform(0.1, 0.35), rng.randint(4, 20)), range(0), None
    )


def large_sum(rng: Random) -> Plan:
    """Requests whose sum is many times the window."""
    return _grown(rng, "a sum beyond the window", [rng.randrange(55_000, 60_000)] * rng.randint(8, 25), range(0), None)


def unknown_model(rng: Random) -> Plan:
    """Nobody knows the model's window."""
    return _grown(
        rng, "a model nobody knows", _climb(rng, 0.05, 0.95, rng.randint(4, 12)), range(0), None, "in-house-7"
    )


def beyond(rng: Random) -> Plan:
    """More than the window, and answered: it is larger than we believe."""
    return _grown(
        rng,
        "more than the window, and answered",
        _climb(rng, 0.4, 1.6, rng.randint(4, 10)),
        range(0),
        None,
        "claude-sonnet-4-5",
        -2000,
    )


def compacted_in_time(rng: Random) -> Plan:
    """Compacted below the line."""
    tokens = [*_climb(rng, 0.1, 0.66, 6), *_climb(rng, 0.1, 0.3, 4)]
    return _grown(rng, "compacted in time", tokens, range(0), None)


# --- context_overflow ---------------------------------------------------------------------------------------------------

_REFUSALS: Final = (
    ("invalid_request_error", "prompt is too long: {n} tokens > 200000 maximum"),
    (
        "BadRequestError",
        "This model's maximum context length is 128000 tokens. However, your messages resulted in {n} tokens.",
    ),
    ("ClientError", "The input token count ({n}) exceeds the maximum number of tokens allowed (1048575)."),
    ("ValidationException", "Input is too long for requested model."),
    ("context_length_exceeded", "Please reduce the length of the messages or completion."),
    (
        "BadRequestError",
        "input length and `max_tokens` exceed context limit: {n} + 8192 > 200000, decrease input length",
    ),
    ("APIError", "the request exceeds the available context size, try increasing it"),
)


def _refused(rng: Random) -> Turn:
    kind, words = rng.choice(_REFUSALS)
    return Turn(error=(kind, words.format(n=rng.randrange(200_001, 400_000))))


def refused_for_good(rng: Random) -> Plan:
    """Refused, and that was the end."""
    turns = [Placed(_refused(rng), (MODEL,))] * rng.choice((1, 1, 2, 3))
    return Plan(kind="refused for good", stretch=turns, severity="error", place="end", ending=[], wastes=False)


def refused_and_compacted(rng: Random) -> Plan:
    """Refused, and the run went on with less."""
    turns = [Placed(_refused(rng), (MODEL,))] * rng.choice((1, 1, 2))
    return Plan(kind="refused, then shortened", stretch=turns, severity="warning", wastes=False)


def answer_cut(rng: Random) -> Plan:
    """An answer that stopped because the window was full."""
    turn = Placed(
        Turn(text=f"The report begins with {text(rng, 40)}", finish="model_context_window_exceeded", output_tokens=500),
        (MODEL,),
    )
    return Plan(kind="an answer cut", stretch=[turn], severity="error", place="end", ending=[], wastes=False)


def rate_limit(rng: Random) -> Plan:
    """Too many tokens in a minute."""
    errors = (
        ("rate_limit_error", "This request would exceed the rate limit of 30,000 input tokens per minute."),
        ("ThrottlingException", "Too many input tokens, please wait before trying again."),
        ("RateLimitError", "Rate limit reached for gpt-4.1 on tokens per min (TPM): Limit 30000, Requested 42000."),
    )
    return Plan(
        kind="too many tokens in a minute", stretch=_quiet(*[Turn(error=rng.choice(errors))] * rng.randint(1, 2))
    )


def other_refusal(rng: Random) -> Plan:
    """Refused for another reason."""
    errors = (
        ("invalid_request_error", "max_tokens: 9000 > 8192, which is the maximum allowed for this model"),
        ("invalid_request_error", "messages.4: tool_use ids were found without tool_result blocks"),
        ("invalid_request_error", "image exceeds 5 MB maximum: 7340032 bytes"),
        ("not_found_error", "model: claude-0"),
    )
    return Plan(kind="refused for another reason", stretch=_quiet(Turn(error=rng.choice(errors))))


def tool_speaks(rng: Random) -> Plan:
    """A tool, or the model, that speaks of context windows."""
    call = Call(
        "grep",
        {"q": "limit"},
        f"prompt is too long; maximum context length {text(rng, 12)}",
        rng.choice((None, "Refused")),
    )
    return Plan(
        kind="a tool that speaks of it",
        stretch=_quiet(
            said(rng, call), Turn(text="The context window is 200,000 tokens, which is too long a prompt for it.")
        ),
    )


# --- oversized_tool_result ----------------------------------------------------------------------------------------------


def _large(rng: Random, chars: int) -> str:
    """Words at about four characters a token."""
    page = text(rng, 2_000)
    return (page + "\n") * (chars // len(page) + 1)


def _sized(
    rng: Random,
    kind: str,
    calls: tuple[Call, ...],
    place: int,
    tokens: int | None,
    severity: str | None,
    model: str = "claude-sonnet-4-5",
) -> Plan:
    asking = Turn(calls, input_tokens=5_000, model=model, measured=tokens is not None)
    after = Turn(
        text="A long text, that.", input_tokens=5_100 + (tokens or 0), model=model, measured=tokens is not None
    )
    before = [
        replace(t, input_tokens=1_000 + 200 * n, model=model) for n, t in enumerate(_real(rng, rng.randint(0, 5)))
    ]
    stretch = [*_quiet(*before), Placed(asking, (place,) if severity else ())]
    return Plan(kind=kind, stretch=stretch, severity=severity, place="whole", ending=[Placed(after)], wastes=False)


def _reader(rng: Random, chars: int) -> Call:
    return Call(
        rng.choice(("read_file", "fetch_page", "query_db", "leer_archivo", "bash")),
        {"path": text(rng, 12)},
        _large(rng, chars),
    )


def counted(rng: Random) -> Plan:
    """Counted by the next request."""
    chars = rng.randrange(135_000, 260_000)
    return _sized(rng, "counted", (_reader(rng, chars),), 0, chars // 4, "warning")


def estimated(rng: Random) -> Plan:
    """Nothing was counted."""
    return _sized(rng, "not counted", (_reader(rng, rng.randrange(140_000, 240_000)),), 0, None, "warning")


def one_of_several(rng: Random) -> Plan:
    """Beside a small one."""
    chars, small = rng.randrange(140_000, 220_000), Call("list_files", {}, text(rng))
    place = rng.randrange(2)
    calls = (small, _reader(rng, chars)) if place else (_reader(rng, chars), small)
    return _sized(rng, "beside a small one", calls, place, chars // 4 + 100, "warning")


def ordinary(rng: Random) -> Plan:
    """Long, but not for the window."""
    chars = rng.randrange(40_000, 100_000)
    return _sized(rng, "long, but not for the window", (_reader(rng, chars),), 0, rng.choice((None, chars // 4)), None)


def cut_before(rng: Random) -> Plan:
    """Recorded whole, and the model was given less."""
    return _sized(
        rng,
        "cut before the model read it",
        (_reader(rng, rng.randrange(140_000, 300_000)),),
        0,
        rng.randrange(500, 6_000),
        None,
    )


def image(rng: Random) -> Plan:
    """An image."""
    data = f"iVBORw0KGgo{rng.getrandbits(64):x}" * 8_000
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    return _sized(rng, "an image", (Call("screenshot", {}, [block]),), 0, rng.choice((None, 1_600)), None)


def many_ordinary(rng: Random) -> Plan:
    """Many that are large together."""
    calls = tuple(_reader(rng, 24_000) for _ in range(7))
    return _sized(rng, "large together", calls, 0, 42_000, None)


# --- cache_bust ---------------------------------------------------------------------------------------------------------

_SYSTEM: Final = frozenset({"gen_ai", "anthropic_sdk", "openllmetry", "messages_only"})


def _cached(turns: Sequence[Turn], tokens: Sequence[int], read: Sequence[int]) -> list[Turn]:
    return [
        replace(t, input_tokens=size, cached=(hit, size - hit))
        for t, size, hit in zip(turns, tokens, read, strict=True)
    ]


def _bust(
    rng: Random,
    kind: str,
    change: dict[str, Any] | None,
    severity: str = "warning",
    only: frozenset[str] = SPANS,
    lasting: bool = True,
) -> Plan:
    """A run that goes on from its cache in each turn but one, in which everything is paid for anew."""
    before, after = rng.randint(2, 6), rng.randint(1, 5)
    start = rng.randrange(60_000, 75_000)
    tokens = [start + 900 * n for n in range(before + after + 1)]
    read = [0, *tokens[:-1]]
    read[before] = 0
    turns = _cached(_real(rng, len(tokens)), tokens, read)
    turns = [
        replace(t, **change) if change and (n == before or (lasting and n > before)) else t for n, t in enumerate(turns)
    ]
    stretch = [Placed(t, (MODEL,) if n == before else ()) for n, t in enumerate(turns)]
    last = replace(
        Turn(text="That is what I found.", input_tokens=tokens[-1] + 500, cached=(tokens[-1], 500)),
        **(change if change and lasting else {}),
    )
    return Plan(
        kind=kind,
        stretch=stretch,
        severity=severity,
        place="whole",
        ending=[Placed(last)],
        only=only,
        wastes=False,
        # Of a cache that ran out nothing is claimed: it was the pause that cost it.
        wasted=_lost(turns[before : before + 1], [tokens[before - 1]]) if severity != "info" else None,
    )


def _lost(turns: Sequence[Turn], tokens: Sequence[int]) -> Spent:
    """What it cost that these turns found nothing in the cache, where so many tokens had been."""
    lost = [lost_from_cache_usd(t.model, size) for t, size in zip(turns, tokens, strict=True)]
    return Spent(None, None if None in lost else sum(filter(None, lost)), None)


def bust_unknown(rng: Random) -> Plan:
    """Nothing says why."""
    return _bust(rng, "nothing says why", None)


def bust_tools(rng: Random) -> Plan:
    """A tool was declared midway."""
    return _bust(
        rng,
        "a tool added midway",
        {"more_tools": ("late_tool",)},
        only=frozenset({"gen_ai", "gen_ai_old", "openinference", "openllmetry"}),
    )


def bust_model(rng: Random) -> Plan:
    """Another model took over."""
    return _bust(rng, "another model", {"model": "claude-opus-4-5"})


def bust_expired(rng: Random) -> Plan:
    """More time had passed than a cache is kept."""
    return _bust(rng, "expired", {"pause_seconds": rng.uniform(330, 3000)}, "info", lasting=False)


def bust_often(rng: Random) -> Plan:
    """A little in each turn: a date in the system instructions."""
    count, start = rng.randint(3, 9), 40_000
    tokens = [start + 500 * n for n in range(count)]
    turns = _cached(_real(rng, count), tokens, [0] * count)
    turns = [replace(t, system=f"It is 9:{n:02}.") for n, t in enumerate(turns)]
    stretch = [Placed(t, (MODEL,) if n else ()) for n, t in enumerate(turns)]
    last = Turn(
        text="That is what I found.", input_tokens=tokens[-1] + 500, cached=(tokens[-1], 500), system=turns[-1].system
    )
    return Plan(
        kind="system instructions with a date",
        stretch=stretch,
        severity="warning",
        place="whole",
        ending=[Placed(last)],
        only=_SYSTEM,
        wasted=_lost(turns[1:], tokens[:-1]),
    )


def _cache_run(
    rng: Random, kind: str, tokens: Sequence[int], read: Sequence[int], only: frozenset[str] = RECORDED
) -> Plan:
    turns = _cached(_real(rng, len(tokens)), tokens, read)
    last = Turn(text="That is what I found.", input_tokens=tokens[-1] + 500, cached=(tokens[-1], 500))
    return Plan(kind=kind, stretch=_quiet(*turns), place="whole", ending=[Placed(last)], only=only)


def hits(rng: Random) -> Plan:
    """Each request goes on from the one before."""
    tokens = [20_000 + 4_000 * n for n in range(rng.randint(4, 20))]
    return _cache_run(rng, "every request goes on from its cache", tokens, [0, *tokens[:-1]])


def little(rng: Random) -> Plan:
    """Little was lost."""
    tokens = [rng.randrange(20_000, 40_000) + 500 * n for n in range(rng.randint(3, 6))]
    tokens.sort()
    read = [0, *tokens[:-1]]
    read[rng.randrange(1, len(read))] = 0
    return _cache_run(rng, "little was lost", tokens, read)


def compaction(rng: Random) -> Plan:
    """Compacted: what is no longer there need not be read."""
    tokens = [*[40_000 + 12_000 * n for n in range(rng.randint(4, 8))]]
    rest = [30_000 + 2_000 * n for n in range(3)]
    return _cache_run(rng, "compacted", [*tokens, *rest], [0, *tokens[:-1], 5_000, *rest[:-1]])


def no_cache(rng: Random) -> Plan:
    """No cache in use."""
    turns = [replace(t, input_tokens=60_000 + 500 * n) for n, t in enumerate(_real(rng, rng.randint(3, 9)))]
    return Plan(kind="no cache in use", stretch=_quiet(*turns), place="whole")


def all_new(rng: Random) -> Plan:
    """Large requests whose tokens are new."""
    tokens = [60_000, 125_000, 126_000, 127_000]
    return _cache_run(rng, "every token was new", tokens, [0, 60_000, 125_000, 126_000])


FAILING = {
    "context_growth": (near_full, compacted, second_climb),
    "context_overflow": (refused_for_good, refused_and_compacted, answer_cut),
    "oversized_tool_result": (counted, estimated, one_of_several),
    "cache_bust": (bust_unknown, bust_tools, bust_model, bust_expired, bust_often),
}
HEALTHY = {
    "context_growth": (steady, growing_small, large_sum, unknown_model, beyond, compacted_in_time),
    "context_overflow": (rate_limit, other_refusal, tool_speaks),
    "oversized_tool_result": (ordinary, cut_before, image, many_ordinary),
    "cache_bust": (hits, little, compaction, no_cache, all_new),
}
