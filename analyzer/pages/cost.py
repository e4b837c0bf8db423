"""Cost: where the money went, which runs cost more than others of their group, what the cache saved, and what has no price."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from analyzer.pages import data, exports, fleet_pieces, layout, links, picked, pieces, words
from analyzer.pages.frames import safe
from analyzer.report import charts, charts_fleet
from analyzer.views import cost as views
from analyzer.views import runs as run_views
from analyzer.views import runs_wanted

NEEDS_SHOWN = 30
WHOLE_FROM_USD = 100
"""From so much on a table shows cents, below it hundredths of cents."""

shown = data.snapshot()
totals = shown.report.totals
st.title("Cost", anchor=False)
st.html(pieces.muted(data.subtitle(shown)))
if shown.runs.is_empty():
    layout.stop_without_runs(shown.path)

runs = views.with_day(shown.runs)
spent = data.asked(shown, views.spent)
whole = views.together(spent)
priced = totals.model_calls - totals.unpriced_calls
st.html(
    pieces.tiles(
        [
            links.tile(
                "Spend",
                words.money(totals.cost_usd),
                f"of {words.count(priced)} calls with a price" if totals.unpriced_calls else "every call priced",
                links.to("runs"),
            ),
            pieces.tile(
                "Calls of unknown price",
                words.count(totals.unpriced_calls),
                f"{words.share(totals.unpriced_calls, totals.model_calls)} of calls, not in spend"
                if totals.unpriced_calls
                else "none",
                "warning" if totals.unpriced_calls else "",
            ),
            pieces.tile("A run costs", words.money(whole["median_run_usd"]), "half cost less, half more"),
            links.tile(
                "Wasted",
                words.money(totals.wasted_cost_usd),
                f"{words.share(totals.wasted_cost_usd, totals.cost_usd)} of spend"
                if totals.wasted_cost_usd is not None
                else "not known",
                links.to("failures"),
                "warning" if totals.wasted_cost_usd else "",
            ),
            pieces.tile("Tokens in", words.count(totals.input_tokens), f"{words.count(totals.output_tokens)} out"),
            pieces.tile(
                "Read from cache",
                words.share(whole["cache_read_tokens"], whole["measured_input_tokens"]),
                f"input of {words.plural(int(whole['measured_calls'] or 0), 'call')}",
            ),
            pieces.tile(
                "Reported twice",
                words.count(totals.duplicate_model_calls),
                f"{words.money(totals.duplicate_cost_usd)} left out"
                if totals.duplicate_cost_usd is not None
                else f"{words.count(totals.duplicate_tokens)} tokens left out"
                if totals.duplicate_model_calls
                else "each call counted once",
            ),
        ]
    )
)

offered = list(views.GROUPINGS)
first = st.query_params.get("by", "").capitalize()
chosen = st.segmented_control(
    "Group by", offered, default=first if first in offered else offered[0], required=True, key="group by"
)
name = str(chosen or offered[0])
by = views.GROUPINGS[name]
groups = views.by_group(spent, runs, by)
largest, more = views.largest(groups)

left, right = st.columns(2, gap="large")
with left:
    st.header(f"Spend by {name.lower()}", anchor=False)
    if largest.is_empty():
        st.caption(
            "No model call has a known price."
            if totals.cost_usd is None
            else f"No {name.lower()} was recorded with these calls."
        )
    elif by == "day":
        st.altair_chart(charts.spend_over_time(run_views.spend_over_time(shown.runs)))
    else:
        st.altair_chart(charts_fleet.spend_by_group(safe(largest, "group"), name.lower()))
        if more:
            st.caption(f"The dearest {largest.height} of {largest.height + more:,}; the table has them all.")
with right:
    st.header("What a run costs", anchor=False)
    bands, points = views.spread(runs, by, largest["group"].to_list())
    if bands.is_empty():
        st.caption("No run with a price to compare.")
    else:
        st.altair_chart(charts_fleet.spread(safe(bands, "group"), safe(points, "group"), name.lower()))
        st.caption(
            f"Bar: 90 of 100 runs. Line: the median. Points: the {views.POINTS_EACH} dearest runs of each; amber where "
            "`cost_outlier` found it too dear."
        )

dear = groups.filter(pl.col("cost_usd") >= WHOLE_FROM_USD).height > 0
dollars = "dollar" if dear else "%.4f"
TABLE = {
    "group": st.column_config.TextColumn(name, width=170),
    "runs": st.column_config.NumberColumn("Runs", format="localized", width=70),
    "calls": st.column_config.NumberColumn("Model calls", format="localized", width=90),
    "cost_usd": st.column_config.NumberColumn("Spend, $", format=dollars, width=90),
    "median_run_usd": st.column_config.NumberColumn("Median run, $", format="%.4g", width=105),
    "wasted_usd": st.column_config.NumberColumn(
        "Wasted, $",
        format=dollars,
        width=85,
        help="What is known of the cost of useless turns, each once; empty: nothing",
    ),
    "unpriced_calls": st.column_config.NumberColumn("Without price", format="localized", width=100),
    "input_tokens": st.column_config.NumberColumn("Tokens in", format="compact", width=85),
    "output_tokens": st.column_config.NumberColumn("Tokens out", format="compact", width=85),
    "cache_read_share": st.column_config.NumberColumn(
        "Read from cache", format="percent", width=115, help="Share of the input of calls that tell; empty: none does"
    ),
}
columns = [column for column in TABLE if column != "wasted_usd" or groups["wasted_usd"].count()]
event: Any = st.dataframe(
    safe(groups.select(columns), "group"),
    key=f"groups {by}",
    hide_index=True,
    width="stretch",
    height="auto",
    column_config=TABLE,
    placeholder=words.UNKNOWN,
    on_select="rerun",
    selection_mode="single-cell",
)
exports.table(
    groups,
    f"cost-by-{name.lower()}",
    f"{words.UNKNOWN} is not known: no {name.lower()} recorded, or no price. Click a row, or press Enter on it, to see its runs.",
)
if (row := picked.row(event, f"groups {by}")) is not None:
    st.switch_page(layout.RUNS, query_params=runs_wanted.params_of(views.runs_of(by, groups["group"][row])))

st.header("Runs far above their group", anchor=False)
far = views.outliers(points, bands)
if far.is_empty():
    st.caption("No run costs twice the median of its group (of five runs or more).")
else:
    one: Any = st.dataframe(
        safe(
            far.select(
                "group",
                "run_id",
                pl.col("times").round(1),
                "cost_usd",
                "median",
                marked=pl.when(pl.col("marked") == "outlier").then("marked"),
            ),
            "group",
            "run_id",
        ),
        key=f"outliers {by}",
        hide_index=True,
        width="stretch",
        height=min(38 + 35 * far.height, 320),
        on_select="rerun",
        selection_mode="single-cell",
        column_config={
            "group": st.column_config.TextColumn(name),
            "run_id": st.column_config.TextColumn("Run"),
            "times": st.column_config.NumberColumn("Times the median", format="localized"),
            "cost_usd": st.column_config.NumberColumn("Cost, $", format="%.4g"),
            "median": st.column_config.NumberColumn("Median, $", format="%.4g"),
            "marked": st.column_config.TextColumn("Finding", help="outlier: cost_outlier reports it"),
        },
        placeholder=words.UNKNOWN,
    )
    exports.table(far, f"outliers-by-{name.lower()}")
    if (row := picked.row(one, f"outliers {by}")) is not None:
        st.switch_page(layout.RUN, query_params={"run": far["run_id"][row]})

left, right = st.columns(2, gap="large")
with left:
    st.header("The cache", anchor=False)
    telling = groups.filter(pl.col("cache_read_share").is_not_null(), pl.col("group").is_not_null()).head(
        views.GROUPS_SHOWN
    )
    if telling.is_empty():
        st.caption("No model call says how much of its input was read from the cache.")
    else:
        st.altair_chart(charts_fleet.cache(safe(telling, "group"), name.lower()))
        st.caption(views.cache_in_words(whole))
with right:
    st.header("Where prices come from", anchor=False)
    sources = data.asked(shown, views.sources)
    st.html(fleet_pieces.price_sources(sources))
    exports.table(sources, "price-sources")

needs = [issue for issue in shown.report.issues if issue.kind == "unknown_price"]
if needs:
    st.header("What would give them a price", anchor=False)
    prices = pl.DataFrame(
        [(issue.message, issue.remedy, issue.count) for issue in needs],
        schema={"problem": pl.String, "remedy": pl.String, "calls": pl.Int64},
        orient="row",
    )
    st.html(fleet_pieces.needs(prices.head(NEEDS_SHOWN)))
    exports.table(prices, "unpriced")

exports.charts("cost")
