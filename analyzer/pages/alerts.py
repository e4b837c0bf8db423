"""Alerts: the rules for production that the policy gives, to look at and to download."""

from __future__ import annotations

import streamlit as st

from analyzer.alerts.metrics import METRICS
from analyzer.alerts.prometheus import RULES_FILE, TESTS_FILE, generate
from analyzer.alerts.rules import rules
from analyzer.pages import data, pieces
from instrument.policy import Policy

policy = data.policy()
files = generate(policy)

st.title("Alerts", anchor=False)
origin = "the default policy" if policy == Policy() else "your policy"
st.html(pieces.muted(f"Prometheus rules for the six failure modes, made from {origin}"))

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

st.header("Rules", anchor=False)
rows = [(r.alert, r.severity, ", ".join(f"`{d}`" for d in r.detectors), f"`{' '.join(r.expr.split())}`") for r in rules(policy)]
st.html(pieces.table(["Alert", "Severity", "Reported afterwards as", "Fires while"], rows))

st.header("Files", anchor=False)
left, right = st.tabs([RULES_FILE, TESTS_FILE])
left.code(files[RULES_FILE], language="yaml", height=560)
right.caption("Proves each rule: one case that fires, one that does not.")
right.code(files[TESTS_FILE], language="yaml", height=560)
st.caption("Check them before you deploy them:")
st.code(f"promtool check rules {RULES_FILE}\npromtool test rules {TESTS_FILE}", language=None)

st.header("Gauges they rest on", anchor=False)
st.html(pieces.table(["Gauge", "One value is"], [(f"`{m.name}`", m.meaning) for m in METRICS]))
