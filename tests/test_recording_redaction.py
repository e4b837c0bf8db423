"""Secrets leave before anything is written; what is no secret stays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from recorded_lines import journal_folder, spans_in

import instrument
from instrument.redact import Redactor, suspect

SECRETS = {
    "Anthropic": ("key sk-ant-api03-AbCdEf1234567890abcdef-x_y ok", "AbCdEf1234567890"),
    "OpenAI": ("sk-proj-abcdefgh12345678ijkl", "abcdefgh12345678"),
    "OpenAI after an escaped line break": (r'{"content":"key:\\nsk-proj-abcdefgh12345678ijkl"}', "abcdefgh12345678"),
    "AWS": ("AWS AKIAIOSFODNN7EXAMPLE.", "IOSFODNN7EXAMPLE"),
    "AWS secret": ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
    "Google": ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "SyA1234567890"),
    "GitHub": ("ghp_0123456789abcdef0123456789abcdef0123", "0123456789abcdef"),
    "GitHub fine-grained": ("github_pat_11ABCDEFG0123456789abc_xyz123", "11ABCDEFG0123456789abc"),
    "Slack": ("xoxb-123456789012-abcdef", "123456789012"),
    "Stripe": ("sk_live_0123456789abcdefABCD", "0123456789abcdef"),
    "bearer": ('{"Authorization": "Bearer abc.def-ghi_123"}', "abc.def-ghi_123"),
    "basic": ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "JWT": ("t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s1gn-at_ure", "eyJzdWIiOiIxMjM0In0"),
    "PEM": ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    "PEM cut short": ("-----BEGIN PRIVATE KEY-----\\nMIIEow", "MIIEow"),
    "JSON": ('{"user": "a", "password": "correct horse battery"}', "correct horse"),
    "JSON in JSON": (json.dumps({"body": json.dumps({"api_key": "a1b2c3 d4"})}), "a1b2c3 d4"),
    "URL": ("https://api.example.com/v1?api_key=abcdef123&limit=5", "abcdef123"),
    "connection string": ("postgresql://app:pa55w0rd@db.internal/x", "pa55w0rd"),
    "environment": ("export DB_PASSWORD=hunter22", "hunter22"),
    "environment, key": ("OPENAI_API_KEY=abcd1234efgh", "abcd1234efgh"),
    "camel": ("{apiKey: 'abc123xyz', refreshToken: 'zzz999yyy'}", "abc123xyz"),
}
HARMLESS = (
    "next_page_token=abcdefgh", "max_tokens=1024", "cache_key='abc123'", "the task-management-skeleton-12345678901234567890",
    '"password": {"type": "string"}', "def login(password: str) -> None:", "password: None", "api_key=os.environ['A']", "token=${TOKEN}",
    "see https://example.com/a@b and mail a@b.com", "the secret of success", "AKIAlanguage", "asked: sk-learn",
)  # fmt: skip


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_replaced_and_the_rest_stays(kind: str) -> None:
    text, secret = SECRETS[kind]
    assert secret in text
    assert suspect(text.encode())
    redacted, count = Redactor().text(f"before {text} after")
    assert secret not in redacted
    assert count >= 1
    assert redacted.startswith("before ")
    assert redacted.endswith(" after") or "BEGIN" in text, redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == (text, 0)


def test_redacting_json_leaves_json() -> None:
    for text, _ in SECRETS.values():
        document = json.dumps({"a": text, "b": [json.dumps({"c": text})]})
        redacted, _count = Redactor().text(document)
        assert set(json.loads(redacted)) == {"a", "b"}


def test_redacting_again_changes_nothing() -> None:
    for text, _ in SECRETS.values():
        once, _count = Redactor().text(text)
        assert Redactor().text(once)[0] == once


@given(
    st.lists(
        st.sampled_from([*(t for t, _ in SECRETS.values()), *HARMLESS, "\n", " ", "\ud83d", "ä"])
        | st.text(max_size=20),
        max_size=6,
    )
)
def test_the_first_look_never_overlooks_what_would_be_replaced(pieces: list[str]) -> None:
    text = " ".join(pieces)
    redacted, count = Redactor().text(text)
    assert (count > 0) <= suspect(text.encode("utf-8", "surrogatepass"))
    assert (count == 0) == (redacted == text)


def test_long_hostile_text_takes_linear_time() -> None:
    began = time.perf_counter()
    for piece in ("password=", "://", "eyJaaaaaaaa.", "eyJ", "-----BEGIN PRIVATE KEY-----", "sk-", '\\"', "api_key: "):
        Redactor().text(piece * (200_000 // len(piece)))
    assert time.perf_counter() - began < 20


def test_own_patterns_and_functions_come_on_top() -> None:
    assert Redactor([r"ACME-\d+"]).text("ACME-17, sk-ant-abcdefgh12345678") == ("[redacted], sk[redacted]", 2)
    assert Redactor(replace=str.upper).text("abc") == ("ABC", 1)
    assert Redactor(defaults=False).text("password=hunter22") == ("password=hunter22", 0)


def test_nothing_secret_reaches_the_disk_wherever_it_stands(tmp_path: Path) -> None:
    provider = TracerProvider()
    recorder = instrument.record(tmp_path / "t.duckdb", tracer_provider=provider, checkpoint_seconds=None)
    foreign = provider.get_tracer("other")

    @instrument.tool
    def leak(header: str) -> str:
        with foreign.start_as_current_span(
            "http", attributes={"url.full": "https://u:S3CR3TX1@h/", "list": ["password=S3CR3TX2x"]}
        ) as span:
            span.add_event("log", {"line": "api_key=S3CR3TX3x"})
        raise ValueError("refused: token ghp_S3CR3TX4aaaaaaaaaaaaaaaaaaaaaaaaaaa")

    with pytest.raises(ValueError, match="refused"):
        leak("Authorization: Bearer S3CR3TX5-abcdefgh")
    http, tool = spans_in(tmp_path / "t.duckdb")
    raw = b"".join(p.read_bytes() for p in journal_folder(tmp_path / "t.duckdb").iterdir())
    assert b"S3CR3T" not in raw
    assert http["attributes"]["flyball.content.redacted"] == 3
    assert tool["attributes"]["flyball.content.redacted"] == 2
    assert recorder.stats.redacted == 5
    instrument.tracing.forget(recorder)
    recorder.journal.close()
