"""`flyball alerts check`: what Slack is sent, and that a webhook's address, which is its password, is in no word of ours."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_alerts_live import messages

from analyzer.alerts.checking import Alert, Look, payload, post
from analyzer.cases import Case, says, tool_call
from analyzer.cli import main
from instrument.errors import FlyballError
from instrument.store.connect import writing
from instrument.store.load import Loader

SECRET = "T0000-s3cret"
HOSTILE = "&" * 4000


def alerts(count: int, summary: str = "A run loops.") -> tuple[Alert, ...]:
    return tuple(Alert("FlyballRepeatedCall", "warning", {"agent_name": f"a{n}"}, summary, 0) for n in range(count))


@pytest.mark.parametrize(("new", "resolved"), [(1, 0), (0, 1), (45, 0), (46, 0), (30, 30), (500, 500)])
@pytest.mark.parametrize("summary", ["A run loops.", HOSTILE, "<!channel> *x* <https://x|y>"])
def test_a_message_keeps_to_slacks_limits_whatever_fires(new: int, resolved: int, summary: str) -> None:
    look = Look(alerts(new, summary), alerts(new, summary), alerts(resolved, summary))
    message = payload(look)
    texts = [block["text"]["text"] for block in message["blocks"]]
    assert len(texts) <= 50
    assert all(1 <= len(text) <= 3000 for text in texts)
    assert all(block["type"] == "section" and block["text"]["type"] == "mrkdwn" for block in message["blocks"])
    assert f"{new} firing, {resolved} resolved" in message["text"]
    assert len(message["text"]) < 4000
    left = max(0, new + resolved - 45)
    assert any(f"and {left} more" in text for text in texts) == (left > 0)
    assert len(message["alerts"]) == new + resolved
    for text in (message["text"], *texts):
        assert "<" not in text
        assert all(escape.startswith(("amp;", "lt;", "gt;")) for escape in text.split("&")[1:])


@contextmanager
def rude(answer: bytes) -> Iterator[int]:
    """A server that says something else than HTTP: its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


def failed(url: str, timeout_seconds: float = 10.0) -> str:
    with pytest.raises(FlyballError) as raised:
        post(url, {"text": "x"}, timeout_seconds=timeout_seconds)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert SECRET not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://x/{SECRET}",
        SECRET,
        f"https://127.0.0.1:{SECRET}/",
        f"https://127.0.0.1:1/{SECRET} x",
        f"http://127.0.0.1:1/{SECRET}",
        f"http://{SECRET}.invalid/",
        f"http://[{SECRET}/",
        f"http:///{SECRET}",
        f"http://127.0.0.1:1/{SECRET}é",
    ],
)
def test_an_address_that_is_none_is_not_repeated(url: str) -> None:
    assert "webhook" in failed(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        f"{SECRET}\r\n\r\n".encode(),
        f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/{SECRET}\r\n\r\n".encode(),
        f"HTTP/1.1 403 {SECRET}\r\n\r\n{SECRET}".encode(),
    ],
)
def test_a_server_that_answers_badly_is_a_failure_said_in_our_words(answer: bytes) -> None:
    with rude(answer) as port:
        assert "stays new for the next look" in failed(f"http://127.0.0.1:{port}/{SECRET}")


def lost(folder: Path) -> list[str]:
    """A database with lost spans, which fires at once, and the command that looks at it."""
    db, policy = folder / "t.duckdb", folder / "flyball.toml"
    with writing(db) as con:
        loader = Loader(con)
        loader.add(Case("one", [tool_call("a", {}, "x"), says("Done.")], []).traces(), "case")
        loader.finish()
        con.execute(
            "INSERT INTO issues (kind, source, count, message, remedy, error) VALUES ('lost_spans', 'x', 7, 'm', 'r', true)"
        )
    policy.write_text("", "utf-8")
    return ["alerts", "check", "--db", str(db), "--policy", str(policy)]


def test_the_address_comes_from_the_environment_and_stands_in_no_file_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lost(tmp_path)
    with messages() as (url, came):
        monkeypatch.setenv("FLYBALL_WEBHOOK", f"{url}/{SECRET}")
        assert main(asked) == 1
        assert len(came) == 1
    told = capsys.readouterr()
    kept = "".join(p.read_bytes().decode("latin-1") for p in tmp_path.iterdir() if p.suffix == ".json")
    assert kept
    assert SECRET not in told.out + told.err + kept


def test_what_fires_is_said_even_where_the_webhook_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = lost(tmp_path)
    with messages(503) as (url, _):
        assert main([*asked, "--webhook", url]) == 2
    told = capsys.readouterr()
    assert "FlyballTelemetryLost" in told.out
    assert "answered 503; what is new stays new for the next look" in told.err
    assert not list(tmp_path.glob("*.alerts.json"))


def test_a_damaged_memory_is_an_error_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = lost(tmp_path)
    (tmp_path / "t.duckdb.alerts.json").write_text('{"version": 1', "utf-8")
    assert main(asked) == 2
    assert "remove it, or name another with --state" in capsys.readouterr().err
    assert main([*asked, "--state", str(tmp_path / "other.json"), "--format", "json"]) == 1
    assert [a["alert"] for a in json.loads(capsys.readouterr().out)["new"]] == ["FlyballTelemetryLost"]


@pytest.mark.parametrize("wrong", [["--for", "3600"], ["--for", "-1"], ["--interval", "0"], ["--keep-firing", "x"]])
def test_waits_that_would_never_end_are_refused(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["alerts", "check", "--db", str(tmp_path / "t.duckdb"), *wrong])
    assert raised.value.code == 2
