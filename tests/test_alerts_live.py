"""An agent that loops, the real Prometheus and the real Alertmanager: somebody is told, and told again when it is over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import instrument
from analyzer.alerts.prometheus import RULES_FILE, Timing, generate
from analyzer.alerts.yaml import Value, emit
from instrument.policy import Policy

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
if (PROMETHEUS is None or ALERTMANAGER is None) and os.environ.get("CI"):
    pytest.fail("CI must have Prometheus and Alertmanager (Debian packages)", pytrace=False)
needs_both = pytest.mark.skipif(
    PROMETHEUS is None or ALERTMANAGER is None, reason="Prometheus and Alertmanager (Debian) are not installed"
)
TIMING = Timing(interval_seconds=1, for_seconds=1, keep_firing_seconds=1)
NAME = 'loo"per {{ .Labels }} </script>\n'
"""Of an agent: what Prometheus, its templates and JSON must carry as it is."""


@contextmanager
def messages(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver of webhooks that answers `status`: its address, and what came."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/secret", came
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def running(*command: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    with (cwd / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def until(found: Callable[[], Any], seconds: float = 25) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"nothing within {seconds} s")


def loop(db: Path, ended: threading.Event) -> None:
    """An agent that asks the same thing until it is told to stop."""

    @instrument.tool(name="look")
    def look(where: str) -> str:
        return "nothing"

    @instrument.model(name="claude-sonnet-4-5", provider="anthropic")
    def answer() -> str:
        return "I look again."

    @instrument.agent(name=NAME)
    def looper() -> None:
        for _ in range(6):
            answer()
            look("here")

    with instrument.record(db):
        while not ended.wait(0.3):
            looper()


def configured(folder: Path, metrics_port: int, alertmanager_port: int, receiver: str) -> None:
    (folder / RULES_FILE).write_text(generate(Policy(), TIMING)[RULES_FILE], "utf-8")
    targets: dict[str, Value] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [RULES_FILE],
        "scrape_configs": [
            {"job_name": "flyball", "static_configs": [{"targets": [f"127.0.0.1:{metrics_port}"]}]}
        ],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]
        },
    }  # fmt: skip
    route: dict[str, Value] = {
        "route": {"receiver": "hook", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": receiver, "send_resolved": True}]}],
    }
    (folder / "prometheus.yml").write_text(emit(targets), "utf-8")
    (folder / "alertmanager.yml").write_text(emit(route), "utf-8")


@needs_both
def test_a_loop_reaches_the_webhook_and_so_does_its_end(tmp_path: Path) -> None:
    assert PROMETHEUS
    assert ALERTMANAGER
    db, ended = tmp_path / "traces.duckdb", threading.Event()
    ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        receiver, came = stack.enter_context(messages())
        agent = threading.Thread(target=loop, args=(db, ended))
        agent.start()
        stack.callback(agent.join)
        stack.callback(ended.set)
        until(db.exists)
        configured(tmp_path, ports[0], ports[1], receiver)
        serving = "from analyzer.cli import main; raise SystemExit(main())"
        stack.enter_context(
            running(sys.executable, "-c", serving, "metrics", "--db", str(db), "--port", str(ports[0]), "--hold", "3", cwd=tmp_path)
        )  # fmt: skip
        for program, own in (
            (ALERTMANAGER, ["--config.file=alertmanager.yml", "--cluster.listen-address=", "--storage.path=am"]),
            (PROMETHEUS, ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]),
        ):
            port = ports[1] if program == ALERTMANAGER else ports[2]
            stack.enter_context(running(program, *own, f"--web.listen-address=127.0.0.1:{port}", cwd=tmp_path))

        def told(status: str) -> list[dict[str, Any]]:
            alerts = [a for message in list(came) for a in message["alerts"] if a["status"] == status]
            return [a for a in alerts if a["labels"]["alertname"] == "FlyballRepeatedCall"]

        fired = until(lambda: told("firing"))[0]
        assert fired["labels"]["agent_name"] == NAME
        assert fired["labels"]["severity"] == "warning"
        assert fired["annotations"]["summary"].startswith("A run loops: the same call gave the same result in ")
        assert NAME in fired["annotations"]["summary"]
        assert not told("resolved")
        ended.set()
        resolved = until(lambda: told("resolved"))[0]
        assert resolved["fingerprint"] == fired["fingerprint"]
