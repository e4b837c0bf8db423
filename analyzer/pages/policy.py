"""Policy: its thresholds, and what other ones would have done to the recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl
import streamlit as st

from analyzer.calibrate import TooFewRuns, calibrate
from analyzer.pages import data, exports, layout, live, picked, pieces, words
from analyzer.pages.data import Snapshot
from analyzer.replay import Replayed, reached, replay
from analyzer.report import charts_more
from analyzer.report.replay_text import totals
from analyzer.views import whatif
from analyzer.views.whatif import Field
from instrument.errors import PolicyError
from instrument.policy import Policy, policy_tables
from instrument.prices import parse_prices

SAMPLES = (whatif.RUNS_REPLAYED, 5_000, 20_000)
SPANS_PER_RUN = whatif.SPANS_REPLAYED // whatif.RUNS_REPLAYED
STOPPED_SHOWN = 200
TRIED = "policy tried"

shown = data.snapshot()
in_force = data.policy()
st.title("Policy", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))


@st.cache_resource(show_spinner="Replaying the runs …", max_entries=24, hash_funcs={Snapshot: live.version})
def replayed(snapshot: Snapshot, policy_json: bytes, most_runs: int) -> tuple[Replayed, ...]:
    """The newest runs of a snapshot under a policy."""
    keys = whatif.newest(snapshot.runs, most_runs, most_runs * SPANS_PER_RUN)["run_key"]
    with data.opened(snapshot) as con:
        return replay(con, msgspec.json.decode(policy_json, type=Policy), runs=keys)


def under(policy: Policy, most_runs: int) -> tuple[Replayed, ...]:
    """The same, by value."""
    return replayed(shown, msgspec.json.encode(policy), most_runs)


def start_from(policy: Policy) -> None:
    """Fills the inputs with a policy, and tries it."""
    for setting, value in whatif.values_of(policy).items():
        st.session_state[f"policy {setting}"] = value
    st.session_state[TRIED] = msgspec.json.encode(policy)


def entry(field: Field) -> None:
    """One field as the input that fits it, named as in the file."""
    key, label, note = f"policy {field.setting}", f"`{field.name}`", field.meaning
    if field.kind == "choice":
        st.selectbox(label, field.choices, key=key, help=note)
    elif field.kind == "share" and _in_hundredths(st.session_state[key]):
        st.slider(label, 0.01, 1.0, step=0.01, key=key, help=note)
    elif field.kind == "share":
        st.number_input(label, 0.0, 1.0, step=None, format="%g", key=key, help=note)
    elif field.kind == "count":
        st.number_input(label, int(field.low or 0), int(field.high or 10**9), step=1, key=key, help=note)
    elif field.kind == "number":
        empty = "no limit" if field.optional else None
        # Whether a bound itself is allowed, the policy says.
        st.number_input(
            label,
            float(field.low or 0),
            float(field.high or 1e9),
            value=None if field.optional else "min",
            step=None,
            format="%g",
            key=key,
            help=note,
            placeholder=empty,
        )
    else:
        st.text_input(label, key=key, help=note)


def _in_hundredths(share: float) -> bool:
    """Whether a slider can stand on it."""
    return share > 0 and round(share, 2) == share


def fields(some: Sequence[Field]) -> None:
    """Inputs, two beside each other."""
    for start in range(0, len(some), 2):
        for column, field in zip(st.columns(2), some[start : start + 2], strict=False):
            with column:
                entry(field)


def form() -> None:
    """All thresholds, by failure mode."""
    for section in whatif.sections():
        own = [f for f in section.fields if f.replayed]
        others = [f for f in section.fields if not f.replayed]
        with st.expander(f"**{section.title}** `[{section.name}]`", expanded=section.name in ("loops", "tool_errors")):
            fields(own)
            if others:
                st.caption(
                    "Not seen by a replay: for detectors, alerts, or what a record has no trace of."
                    if own
                    else "Not seen by a replay."
                )
                fields(others)


def tried() -> Policy | None:
    """The policy that was last tried; None where the inputs make none."""
    if TRIED not in st.session_state:
        return in_force
    found: Policy = msgspec.json.decode(st.session_state[TRIED], type=Policy)
    return found


def submit() -> None:
    """Tries what the inputs say."""
    values = {f.setting: st.session_state[f"policy {f.setting}"] for s in whatif.sections() for f in s.fields}
    st.session_state.pop("policy wrong", None)
    try:
        st.session_state[TRIED] = msgspec.json.encode(whatif.policy_with(in_force, values))
    except PolicyError as e:
        st.session_state["policy wrong"] = str(e)


def result(policy: Policy) -> None:
    """What replay says of a policy, beside the one in force."""
    if shown.runs.is_empty():
        st.subheader("No run is recorded here yet", anchor=False)
        st.caption("What a policy would have done is told from recorded runs.")
        st.code(f"flyball load PATH... --db {shown.path}", language=None)
        return
    most = st.selectbox(
        "Replay over the", SAMPLES, format_func=lambda n: f"newest {n:,} runs", key="policy runs", width=240
    )
    same = policy == in_force
    now = under(in_force, most)
    then = now if same else under(policy, most)
    before, after = totals(now), totals(then)
    st.html(pieces.page(f'<div class="fb-tiles fb-three">{"".join(tiles(before, after, same))}</div>'))
    st.caption(told(before, len(now)))
    different = whatif.changed(in_force, policy)
    if different:
        st.header("What differs from the policy in force", anchor=False)
        st.html(
            pieces.table(
                ["Setting", "In force", "Tried"],
                [(f"`{name}`", _shown(a), _shown(b)) for name, (a, b) in different.items()],
            )
        )
    guards = whatif.by_guard({"in force": before} if same else {"in force": before, "tried": after})
    st.header("Runs stopped, by guard", anchor=False)
    if guards.is_empty():
        st.caption("No guard would have stopped a run.")
    else:
        st.altair_chart(charts_more.stops_by_guard(guards))
        exports.charts("policy")
    stopped(now, then, same)


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def tiles(before: dict[str, Any], after: dict[str, Any], same: bool) -> list[str]:
    """The sums under the tried policy, each with that of the one in force."""

    def note(text: str) -> str:
        return "under the policy in force" if same else f"{text} in force"

    wrong = "not known" if not after["known_outcomes"] else f"{after['wrongly_stopped']:,}"
    wrong_before = "not known" if not before["known_outcomes"] else f"{before['wrongly_stopped']:,}"
    return [
        pieces.tile("Stopped", words.count(after["stopped"]), note(words.count(before["stopped"]))),
        pieces.tile("Saved", words.money(after["saved_usd"]), note(words.money(before["saved_usd"]))),
        pieces.tile("Tokens saved", words.count(after["saved_tokens"]), note(words.count(before["saved_tokens"]))),
        pieces.tile(
            "Time saved", words.duration(after["saved_seconds"]), note(words.duration(before["saved_seconds"]))
        ),
        pieces.tile("Wrongly stopped", wrong, note(wrong_before), "error" if after["wrongly_stopped"] else ""),
        pieces.tile("Calls refused", words.count(after["blocks"]), note(words.count(before["blocks"]))),
    ]


def told(sums: dict[str, Any], runs: int) -> str:
    """Over what, and how much of it is known."""
    known, unknown = sums["known_outcomes"], sums["unknown_savings"]
    parts = [
        f"Replayed over {words.plural(runs, 'run')} of {words.money(sums['cost_usd'])}"
        + (
            f" (of {shown.runs.height:,}; the others are older, or have no call to replay)."
            if runs < shown.runs.height
            else "."
        ),
        f"How {known:,} of them ended is known, {sums['succeeded']:,} succeeded."
        if known
        else "Of no run it is known whether it succeeded: say so with `flyball outcome DB FILE`, and wrong stops are counted.",
        f"Of {words.plural(unknown, 'stopped run')} the saving is not known." if unknown else "",
        "A nudge is taken to have changed nothing.",
    ]
    return " ".join(part for part in parts if part).replace("$", r"\$")


def stopped(now: Sequence[Replayed], then: Sequence[Replayed], same: bool) -> None:
    """The runs, each with a link."""
    found = whatif.stopped_runs(now, then)
    if found.is_empty():
        return
    st.header("Runs that would have been stopped", anchor=False)
    names = {True: "succeeded", False: "failed"}
    rows = found.head(STOPPED_SHOWN).with_columns(
        agent_name=pl.col("agent_name").str.slice(0, 80).map_elements(words.visible, return_dtype=pl.String),
        succeeded=pl.col("succeeded").replace_strict(names, default="not known", return_dtype=pl.String),
    )
    columns = ["agent_name", "guard_tried", "turn_tried", "saved_usd_tried", "succeeded", "cost_usd"]
    columns += [] if same else ["guard_in_force", "turn_in_force"]
    st.caption("Click a row, or press Enter on it, to open its run.")
    event: Any = st.dataframe(
        rows.select(columns),
        hide_index=True,
        width="stretch",
        column_config=COLUMNS,
        placeholder=words.UNKNOWN,
        on_select="rerun",
        selection_mode="single-cell",
        key="policy stopped",
    )
    exports.table(found, "stopped-runs")
    if (row := picked.row(event, "policy stopped")) is not None:
        st.switch_page(layout.RUN, query_params={"run": found["run_id"][row]})
    if found.height > STOPPED_SHOWN:
        st.caption(f"and {found.height - STOPPED_SHOWN:,} more")


COLUMNS = {
    "agent_name": st.column_config.TextColumn("Agent", width=130),
    "guard_tried": st.column_config.TextColumn("Stopped by", width=130),
    "turn_tried": st.column_config.NumberColumn("At turn", format="localized", width=70),
    "saved_usd_tried": st.column_config.NumberColumn("Saves, $", format="%.4f", width=80),
    "succeeded": st.column_config.TextColumn("Outcome", width=90),
    "cost_usd": st.column_config.NumberColumn("Cost, $", format="%.4f", width=80),
    "guard_in_force": st.column_config.TextColumn("In force: by", width=130),
    "turn_in_force": st.column_config.NumberColumn("at turn", format="localized", width=70),
}


def proposal() -> None:
    """A policy from the user's own good runs."""
    st.caption(
        "Stop lines from recorded good runs, so that at most a stated share of further good runs like them is stopped (split conformal)."
    )
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    share = left.number_input("Good runs that may be stopped, %", 0.5, 50.0, 5.0, step=0.5, key="policy alpha")
    assumed = right.checkbox("Runs of unknown outcome count as good", key="policy assumed")
    if not st.button("Propose a policy", icon=":material/auto_awesome:", disabled=shown.runs.is_empty()):
        return
    keys = whatif.newest(shown.runs, 10_000, 10_000 * SPANS_PER_RUN)["run_key"]
    with st.spinner("Measuring how far good runs go …"), data.opened(shown) as con:
        far = reached(con, None, parse_prices(policy_tables(None)[0]), in_force, keys)
    good = [run for run in far if run.succeeded is True or (assumed and run.succeeded is None)]
    try:
        found = calibrate(good, alpha=share / 100)
    except TooFewRuns as e:
        st.code(f"{e}", language=None, wrap_lines=True)
        return
    st.caption(
        f"From {words.plural(found.good_runs, 'good run')} of {words.plural(found.agents, 'agent')}, {found.held_out:,} of them held out; "
        f"the line lies at {found.ratio:.3g} times the usual reach."
    )
    st.html(
        pieces.table(
            ["Setting", "Proposed", "Why"],
            [(f"`{line.setting}`", f"{line.value:g}", line.reason) for line in found.lines],
        )
    )
    st.button("Try these", type="primary", on_click=start_from, args=(found.policy(in_force),))


for setting, value in whatif.values_of(in_force).items():
    st.session_state.setdefault(f"policy {setting}", value)
    # Streamlit forgets inputs of pages that are not shown; told again, it keeps them.
    st.session_state[f"policy {setting}"] = st.session_state[f"policy {setting}"]
left, right = st.columns([5, 7], gap="large")
with left:
    st.header("Thresholds", anchor=False)
    with st.container(horizontal=True):
        st.button("Policy in force", on_click=start_from, args=(in_force,), icon=":material/restart_alt:")
        st.button("Defaults", on_click=start_from, args=(Policy(),), icon=":material/restart_alt:")
    with st.form("policy form", border=False):
        st.form_submit_button(
            "Replay these",
            type="primary",
            on_click=submit,
            icon=":material/play_arrow:",
            disabled=shown.runs.is_empty(),
        )
        form()
    with st.expander("**Calibrate** from good runs"):
        proposal()
chosen = tried()
with right:
    st.header("What they would have done", anchor=False)
    if wrong := st.session_state.get("policy wrong"):
        st.caption("A policy cannot say that, so nothing was tried:")
        st.code(words.visible(wrong), language=None, wrap_lines=True)
    if chosen is not None:
        try:
            text = whatif.as_toml(chosen, policy_tables(None)[0])
        except PolicyError as e:
            st.caption("No file can say this policy:")
            st.code(words.visible(str(e)), language=None, wrap_lines=True)
        else:
            st.download_button(
                "Download flyball.toml", text, file_name="flyball.toml", mime="application/toml", on_click="ignore",
                icon=":material/download:", help="Put it beside your code: guards, detectors, replay and alerts all read it.",
            )  # fmt: skip
        result(chosen)
live.refresh(shown)
