"""Openings of results that read like failures, and of results that merely speak of errors."""

from __future__ import annotations

import pytest

from instrument.sameness import failure_kind, loose_result_key, says_error

FAILURES = (
    "Error: x",
    "ValueError: bad",
    "java.lang.NullPointerException: foo",
    "Error executing tool search: boom",
    "Error fetching URL",
    "Failed to fetch",
    "Unable to connect to host",
    "Could not open file",
    "/bin/bash: line 13038: cd: fastjson/: No such file or directory",
    "/bin/bash: line 12: javac: command not found",
    "bash: mvn: command not found",
    "zsh: command not found: mvn",
    "sh: 1: foo: not found",
    "cat: x.txt: No such file or directory",
    "ls: cannot access 'x': No such file or directory",
    "Permission denied",
    "HTTP 500",
    "HTTP/1.1 503 Service Unavailable",
    "404 Not Found",
    "Status code: 502",
    "Request timed out after 30s",
    "Timeout: 30s",
    "EXECUTION TIMED OUT",
    "Tool search not found",
    "Unknown tool: foo",
    "No such tool",
    "File gson/x not found",
    "Invalid arguments: x",
    "Missing required parameter 'x'",
    "Rate limit exceeded",
    "Too many requests",
    "❌ something went wrong",
    "**Error:** bad",
    "[ERROR] bad thing",
    "<error>foo</error>",
    "<tool_use_error>InputValidationError: x</tool_use_error>",
    "Fehler: Datei nicht gefunden",
    "Erreur : fichier introuvable",
    "Error al abrir el archivo",
    "Errore: no",
    "Erro ao ler",
    "Ошибка: файл не найден",
    "错误\uff1a文件不存在",
    "请求失败\uff1a超时",
    "エラー\uff1a見つかりません",
    "오류: 파일 없음",
    "无法连接到服务器",
    "Traceback (most recent call last):",
    "fatal: not a git repository",
    "npm ERR! code",
    "No replacement was performed, old_str x",
    "Your proposed edit has introduced new syntax error(s). Please",
    '{"error":"x"}',
    '{"success":false}',
    '{"ok":false}',
    '{"status":404,"message":"Not found"}',
    '{"detail":"Not Found"}',
    '{"isError":true,"content":[]}',
    '{"errorMessage":"x","errorType":"E"}',
    '{"data":null,"errors":[{"message":"x"}]}',
    '{"result":"Error: x"}',
    '{"status":"ERROR","x":1}',
    "error TS2304: Cannot find name",
    "An error occurred while processing",
    "An unexpected error occurred",
    "Unauthorized",
    "Forbidden.",
    "Not found",
    "FAILED (failures=3)",
    "KeyError 'x'",
    "Error",
    "panic: runtime error",
    "Tool 'my tool' does not exist",
    "Connection refused",
    "Execution failed: x",
    "Invalid JSON: x",
)
ANSWERS = (
    "Error handling in Go: errors are values",
    "Exception handling guide",
    "error budget: 0.1%",
    "Errors: 0",
    "0 errors, 3 warnings",
    "src/errors.py:12: raise ValueError",
    "ERROR 2024-05-01 12:00 connection lost",
    "[ERROR] 2024-05-01 12:00:00 db: x",
    "2024-05-01 ERROR: x",
    "Failed tests: 0",
    "Cannot be combined with other offers",
    "Could not find any results",
    '{"error":null,"data":1}',
    '{"errors":0,"ok":true}',
    '{"value":3.1,"error":0.02}',
    '{"status":200,"message":"ok"}',
    '{"errors":[],"data":{}}',
    "ValueError is raised when the input is bad",
    "Timeouts are configured in x",
    "timeout = 30",
    "File handling guide",
    "[File: /a/b.py (113 lines total)]",
    "The file does not exist yet so I will create it",
    "Invalidation queue",
    "Not found in stock: use alternative product",
    "Permission model: admin, user",
    "bash: warning: setlocale: LC_ALL: cannot change locale (en_US.UTF-8)",
    "HTTP 200 OK",
    "Status: 200",
    '{"status":"running"}',
    '{"content":"Error handling guide"}',
    "No results found",
    "failover: node-2 is up",
    "Error rate: 0.2%",
    "error_log.txt",
    "errors.log",
    "find: '/proc/1': Permission denied\n/home/a\n/home/b",
    "/home/x/file.txt",
    "Fehlerbehandlung in Java",
    "Erreurs fréquentes",
    "Missing required parameter: how to mend it, with examples",
    "Invalid JSON: common causes",
    "Missing persons: list",
    "Access control list: ok",
    "Quota: 5 of 10",
    "Login failed attempts: 3",
)


@pytest.mark.parametrize("text", FAILURES)
def test_reads_like_a_failure(text: str) -> None:
    assert says_error(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_merely_speaks_of_errors(text: str) -> None:
    assert not says_error(text)


def test_a_shell_that_counts_its_lines_fails_the_same_way() -> None:
    first, second = (f"/bin/bash: line {n}: cd: fastjson/: No such file or directory" for n in (13038, 13053))
    assert failure_kind(None, first) == failure_kind(None, second)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ('{"status": 503, "message": "upstream is down"}', "upstream is down"),
        ('{"error": {"type": "not_found", "message": "no user 17"}}', "no user … not_found"),
        ('{"data": null, "errors": [{"message": "no such field"}]}', "no such field"),
        ('{"result": "Error: timed out"}', "error: timed out"),
        ('{"ok": false}', "{…: false}"),
    ],
)
def test_the_kind_of_a_failure_is_the_reason_that_an_object_gives(result: str, kind: str) -> None:
    assert sorted(failure_kind(None, result).split()) == sorted(kind.split())


def test_an_object_nested_without_end_is_read_one_level_deep() -> None:
    assert failure_kind(None, '{"error":' * 900 + '"x"' + "}" * 900)


def test_the_words_of_a_result_are_the_same_whatever_its_numbers() -> None:
    assert loose_result_key("[a.py has 12 lines] x") == loose_result_key("[a.py has 13 lines] x")
    assert loose_result_key("[a.py has 12 lines] x") != loose_result_key("[b.py has 12 lines] x")
    assert loose_result_key("12 13") is None
