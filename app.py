"""The app: `streamlit run app.py -- [--db FILE] [PATH...]`. Without either it opens on the bundled `sample_traces/`."""

import streamlit as st

from analyzer.pages import server

app = st.App(server.SCRIPT, routes=server.ROUTES, lifespan=server.warm)
