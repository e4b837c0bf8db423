"""Alerts: the rules for production that the policy gives, to look at and to download."""

from __future__ import annotations

import polars as pl
import streamlit as st

from analyzer.alerts.metrics import METRICS
from analyzer.alerts.prometheus import RULES_FILE, TESTS_FILE, generate
from analyzer.alerts.rules import rules
from analyzer.pages import data
from instrument.policy import Policy

policy = data.policy()
files = generate(policy)

st.title("Alerts", anchor=False)
st.text(
    "Prometheus rules for the six failure modes, made from "
    + ("the default policy" if policy == Policy() else "your policy")
)

st.header("Rules", anchor=False)
table = pl.DataFrame(
    [(rule.alert, rule.severity, rule.detector, rule.expr.replace("\n", " ")) for rule in rules(policy)],
    schema=["alert", "severity", "same finding as", "fires while"],
    orient="row",
)
st.dataframe(
    table,
    hide_index=True,
    width="stretch",
    height="content",
    column_config={"fires while": st.column_config.TextColumn(width="large")},
)

with st.container(horizontal=True):
    for name, text in files.items():
        st.download_button(
            f"Download {name}",
            text,
            file_name=name,
            mime="application/yaml",
            on_click="ignore",
            icon=":material/download:",
        )

left, right = st.tabs([RULES_FILE, TESTS_FILE])
left.code(files[RULES_FILE], language="yaml", height=560)
right.caption("Proves each rule: one case that fires, one that does not.")
right.code(files[TESTS_FILE], language="yaml", height=560)

st.header("Check them", anchor=False)
st.code(f"promtool check rules {RULES_FILE}\npromtool test rules {TESTS_FILE}", language="bash")

st.header("Metrics they rest on", anchor=False)
metrics = pl.DataFrame([(m.name, m.meaning) for m in METRICS], schema=["gauge", "one value is"], orient="row")
st.dataframe(metrics, hide_index=True, width="stretch", height="content")
