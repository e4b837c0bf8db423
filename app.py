"""The app: `streamlit run app.py -- [--db FILE] [PATH...]`. Without either it opens on the bundled `sample_traces/`."""

from pathlib import Path

import streamlit as st

from analyzer import pages
from analyzer.pages import layout

PAGES = Path(pages.__file__).parent

layout.begin()
st.navigation(
    [
        st.Page(PAGES / "overview.py", title="Overview", url_path="overview", default=True),
        st.Page(PAGES / "runs.py", title="Runs", url_path="runs"),
        st.Page(PAGES / "run.py", title="Run", url_path="run"),
        st.Page(PAGES / "alerts.py", title="Alerts", url_path="alerts"),
    ],
    position="top",
).run()
