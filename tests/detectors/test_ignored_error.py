"""What counts as owning up, and what is known without words."""

import pytest

from analyzer.cases import Case, says, tool_call, turn
from analyzer.findings import State
from analyzer.run import judge

_SLUG = ["ignored_error"]
_SEND = tool_call("send_mail", {"to": "ann"}, "550 mailbox unknown", error="SmtpError")


def _confidences(*script: object) -> list[float]:
    return [f.confidence for f in judge(Case("words", [_SEND, *script], []).load(), select=_SLUG).findings]  # type: ignore[list-item]


@pytest.mark.parametrize(
    "answer",
    [
        "The mail to Ann failed.",
        "I couldn\u2019t send the mail.",
        "Unfortunately Ann did not get it.",
        "Die Mail kam leider zurück.",
        "Le courriel n'a pas pu être envoyé.",
        "No se pudo enviar el correo.",
        "O envio falhou.",
        "L'invio è fallito.",
        "邮件发送失败。",
        "メールを送信できませんでした。",
        "Письмо не удалось отправить.",
    ],
)
def test_who_owns_up_in_whatever_language_is_left_alone(answer: str) -> None:
    assert _confidences(says(answer)) == []


def test_who_claims_success_is_believed_least() -> None:
    assert _confidences(says("I have sent the mail to Ann.")) == [0.85]
    assert _confidences(says("Ann is the head of the garden committee.")) == [0.7]


def test_doubtful_words_count_next_and_at_the_end_only() -> None:
    note = [turn(tool_call("look", {"n": n}, f"seen {n}"), text=f"Now for part {n}.") for n in range(2)]
    doubt = turn(tool_call("look", {"n": 9}, "seen 9"), text="The garden has no fence.")
    assert _confidences(note[0], doubt, note[1], says("All three parts are described above.")) == [0.7]
    assert _confidences(doubt, *note, says("All three parts are described above.")) == []


def test_without_words_it_is_blind() -> None:
    report = judge(Case("blind", [_SEND, says("I have sent it.")], []).load("hashed"), select=_SLUG)
    assert report.findings == ()
    assert report.outcomes[0].state is State.BLIND
