"""What Streamlit runs for every visit: the frame of the pages and the choice among them."""

import streamlit as st

from analyzer.pages import layout

layout.begin()
st.navigation(
    [
        st.Page(layout.OVERVIEW, title="Overview", url_path="overview", default=True),
        st.Page(layout.RUNS, title="Runs", url_path="runs"),
        st.Page(layout.RUN, title="Run", url_path="run"),
        st.Page(layout.FAILURES, title="Failures", url_path="failures"),
        st.Page(layout.COST, title="Cost", url_path="cost"),
        st.Page(layout.TOOLS, title="Tools", url_path="tools"),
        st.Page(layout.POLICY, title="Policy", url_path="policy"),
        st.Page(layout.ALERTS, title="Alerts", url_path="alerts"),
        st.Page(layout.REVIEWS, title="Reviews", url_path="reviews"),
        st.Page(layout.COMPARE, title="Compare", url_path="compare"),
        st.Page(layout.IMPORT, title="Import", url_path="import"),
    ],
    position="top",
).run()
