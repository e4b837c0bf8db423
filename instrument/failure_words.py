"""What the text of a tool's result must open with to read like a failure, where nobody flagged one. Pure, and narrow on purpose.

A text that mentions an error somewhere is no failure, nor is one that is about errors ("Error handling in Go", a line of a log). So only
openings count, each with what has to follow it: a failure names itself first and then what failed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_READ_CHARS: Final = 2_000
"""Of a text, as much as is looked at."""

_NAMED: Final = r"""
    (?:
      [A-Za-z_.]*[A-Za-z_](?:Error|Exception)\b(?=\s*(?:[:(\[{'"!]|-\s|$|\n)|\s+(?:occurred|at|in|on|for|while|when|during)\b)
    | (?:error|exception|fatal|failed|failure|traceback|panic)\b\s*[:(\]!]
    | error\s*(?:$|\n|-{1,2}\s|code\b|\#?\d+\b|[a-z]{1,6}\d{2,6}\b|(?:in|from|at|on|while|during|when|occurred|invoking)\b)
    | error\s+(?!handling|logging|reporting|tracking|monitoring|checking|messag|recover|budget)[a-z]+ing\b
    | an?\ (?:\w+\ )?(?:error|exception)\ (?:has\ )?occurred
    | failed\ to\ | fail(?:ed|ure)\ (?:while|during)\b
    | npm\ (?:err!|error\b) | err!
    | (?:build|command|request|execution|operation|query|call|connection|download|upload|authentication|login)\ failed
      \s*(?:[:(.,!\n]|$|with\b|due\b|because\b|after\b)
    )
"""
"""It calls itself an error."""
_UNABLE: Final = r"""
    (?:unable\ to|could\ not|couldn['\u2019]t|cannot|can['\u2019]t)\ (?!find\ any)(?:
      access|authenticate|complete|connect|create|decode|delete|determine|download|establish|execute|fetch|find|import|load|locate|open|parse
    | perform|process|reach|read|resolve|retrieve|run|save|send|stat|update|write)\b
"""
_REFUSED: Final = r"""
    (?:
      (?:permission|access)\ denied\b | (?:connection|operation|request|command|query|execution|read|call|tool)\ (?:has\ )?timed\ out
    | (?:connection|socket|network)\ (?:refused|reset|closed|aborted|error) | timed?[\ -]?out(?:\ (?:after|error|exceeded)|\s*[:(.!]|\s*$)
    | (?:unauthorized|forbidden|unauthenticated|bad\ gateway|service\ unavailable|internal\ server\ error|too\ many\ requests)
      \s*(?:[:(.!\n]|$)
    | not\ (?:found|authorized|authenticated|permitted)\s*(?:[:(.!\n]|$)
    | rate[\ -]?limit(?:ed\b|\ (?:exceeded|reached)) | quota\ exceeded
    | (?:invalid|missing|unexpected|unsupported|malformed|unrecognized)\ (?:\w+\ )?
      (?:arguments?|parameters?|params|input|request|json|api\ key|token|credentials|syntax|command|option|value|url|path|format|field)\b
      \s*(?:[(.!'"`\n]|$|for\b|in\b|at\b
        |:(?!\s*(?:how|what|why|when|where|(?:a\ )?guide|tips|ways|causes|common|fix(?:es|ing)?|handling|solutions?|solving
          |troubleshooting|understanding)\b))
    | http(?:/[\d.]+)?\ (?:error\ |status\ (?:code\ )?)?[45]\d\d\b
    | (?:status|response|error)(?:\ code)?\s*[:=]\ ?[45]\d\d\b
    | [45]\d\d\ (?:bad\ request|unauthorized|payment|forbidden|not\ found|method|conflict|gone|unprocessable|too\ many|client\ error
      |internal|not\ implemented|bad\ gateway|service|gateway|server\ error)
    )
"""
"""It says no, as networks and services do."""
_TOOLS: Final = r"""
    (?:
      (?:unknown|no\ such|undefined|unsupported|invalid)\ (?:tool|function)\b
    | (?:tool|function|file|directory|path|module|command|element|page|table|column)
      \ (?:'[^'\n]{1,160}'|"[^"\n]{1,160}"|\S{1,160})\ (?:was\ )?
      (?:not\ found|does\ not\ exist|doesn['\u2019]t\ exist|is\ not\ (?:defined|available|recognized))\b
    | (?:the\ )?(?:file|directory|path|page|element)\ (?:was\ )?(?:not\ found|does\ not\ exist)\s*(?:[:(.,!\n]|$)
    | usage:\ [^\n]{1,160}\Z
    | no\ replacement\ was\ performed | your\ proposed\ edit\ has\ introduced
    | (?:string\ to\ replace|old_str(?:ing)?)\ (?:was\ )?not\ found
    | (?:the\ )?(?:edit|patch|change)s?\ (?:was|were|could)\ not\ (?:be\ )?(?:applied|made)\b
    | the\ term\ '[^'\n]{1,160}'\ is\ not\ recognized | '[^'\n]{1,160}'\ is\ not\ recognized\ as
    | segmentation\ fault | panic:
    )
"""
"""It says that a tool, or what it was pointed at, is not there; the last lines are words of editors and shells that agents have."""
_SHELL_SAYS: Final = (
    r"(?:command\ not\ found|not\ found|no\ such\ file\ or\ directory|permission\ denied|is\ a\ directory|not\ a\ directory"
    r"|operation\ not\ permitted|cannot\ execute|unexpected\ eof|syntax\ error|bad\ substitution|unbound\ variable|ambiguous\ redirect"
    r"|event\ not\ found|argument\ list\ too\ long|no\ space\ left\ on\ device|read-only\ file\ system)"
)
_SHELL: Final = rf"""
    (?:
      (?:-|/[\w/.-]{{0,60}}/)?(?:ba|z|da|k|a|c|fi)?sh:\ [^\n]{{0,300}}?{_SHELL_SAYS}     # a shell: it ran nothing
    | [\w./-]{{1,60}}:\ (?:[^\n:]{{1,300}}:\ )?{_SHELL_SAYS}\s*\Z                         # a program, with nothing else to say
    )
"""
_ELSEWHERE: Final = r"""
    (?:
      (?:错误|錯誤|失败|失敗|异常|異常|エラー|오류|에러|실패)\s*[:\uff1a!\uff01(\uff08。\n]
    | (?:无法|無法|找不到)(?=\w) | \w{0,8}(?:失败|失敗)(?:了)?\s*(?:[:\uff1a,\uff0c。!\uff01(\uff08\n]|$)
    | (?:发生|發生|出现)(?:了)?(?:\w{0,4})(?:错误|錯誤)
    | (?:ошибка|помилка|błąd|chyba|hata|fehler|fout|fel|virhe|feil|fejl|hiba|erreur|errore|erro|lỗi|خطأ|שגיאה|त्रुटि)
      \s*(?:[:\uff1a!(]|[45]\d\d\b)
    | fehler\ (?:beim?|bei|in|aufgetreten)\b | erreur\ (?:lors|de|dans|interne)\b
    | error\ (?:al|en|de|del|interno)\b | errore\ (?:durante|nel|di)\b
    | erro\ (?:ao|na|no|de|interno)\b | ошибка\ (?:при|в)\b
    | (?:échec|echec|falha|fallo|fallimento|сбой)\s*(?::|de\b|du\b|lors\b|ao\b|na\b|al\b|en\b|при\b)
    | impossible\ d[e'\u2019] | (?:konnte|kann)\ [^\n]{0,80}nicht\b
    | no\ se\ (?:pudo|puede|encontró)\b | não\ foi\ possível | impossibile\ | не\ удалось
    | nie\ (?:można|udało)\b | zugriff\ verweigert | acceso\ denegado | accès\ refusé | acesso\ negado | доступ\ запрещ
    )
"""
_LOG_LINE: Final = re.compile(
    r"\W{0,3}(?:error|fatal|failed|exception)\W{1,4}(?:\d{4}[-/]\d\d|\d\d:\d\d)", re.IGNORECASE
)
"""A level and then a date: a line of a log, which is what a search through logs is meant to find."""
_OPENING: Final = re.compile(
    rf"(?:[^\w\s<\[(]\W{{0,3}}|\[|<(?:\w{{1,30}}[_-])?error>|<[\w-]{{1,40}}>)?\s*(?:{_NAMED}|{_UNABLE}|{_REFUSED}|{_TOOLS}|{_SHELL}|{_ELSEWHERE})"
    r"|<(?:\w{1,30}[_-])?error>\s*\w|[❌⛔🚫]",
    re.IGNORECASE | re.VERBOSE,
)

_WRAPPERS: Final = ("result", "output", "content", "response", "text", "message", "data")
"""Keys that hold all a tool said, where an object has nothing else."""
_SAYS_WHY: Final = ("message", "detail", "title", "reason", "error_description", "statusText", "status_text", "msg")
_STATUS: Final = ("status", "status_code", "statusCode", "http_status", "code")
_TOLD: Final = ("error", "errorMessage", "error_message", "errorType", "exception", "Error", "fault")


def text_says_failure(text: str) -> bool:
    """Whether a text opens like a failure."""
    head = text[:_READ_CHARS].lstrip()
    return _OPENING.match(head) is not None and _LOG_LINE.match(head) is None


def object_says_failure(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object says that what was asked for failed: a flag, an error, an HTTP status of 400 and above with its reason."""
    if any(_is_told(found.get(name)) for name in _TOLD):
        return True
    if any(found.get(name) is True for name in ("is_error", "isError")) or any(
        found.get(name) is False for name in ("success", "ok")
    ):
        return True
    status = found.get("status")
    if isinstance(status, str) and status.lower() in ("error", "failed", "failure"):
        return True
    if set(found) == {"detail"}:  # how FastAPI and Django answer what they refuse
        return True
    why = any(isinstance(found.get(name), str) for name in _SAYS_WHY)
    if why and any(_refuses(found.get(name)) for name in _STATUS):
        return True
    if isinstance(found.get("errors"), list) and found["errors"] and "data" in found and not found["data"]:
        return True  # GraphQL
    return text_says_failure(_only_text(found) or "")


def reason_of(found: Mapping[str, Any]) -> str | None:
    """The words in which a JSON object says why; None where it has none of the usual names for them."""
    first = found["errors"][0] if isinstance(found.get("errors"), list) and found["errors"] else None
    told: list[Any] = [*(found.get(name) for name in (*_TOLD, *_SAYS_WHY)), first, _only_text(found)]
    # One level down, as `{"error": {"message": "no such user"}}` has it.
    told += [t.get(name) for t in told if isinstance(t, Mapping) for name in ("type", *_SAYS_WHY)]
    return " ".join(dict.fromkeys(t for t in told if t and isinstance(t, str))) or None


def _only_text(found: Mapping[str, Any]) -> str | None:
    """What an object says that is nothing but the wrapper of a text."""
    only = next(iter(found.values())) if len(found) == 1 and next(iter(found)) in _WRAPPERS else None
    return only if isinstance(only, str) else None


def _is_told(value: Any) -> bool:
    """A number may be how far a measurement is off."""
    return bool(value) and (not isinstance(value, int | float) or value is True or _refuses(value))


def _refuses(status: Any) -> bool:
    return isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599
