"""What a tool call does to the world, judged by its name and, for shells, by its command: does it look, change something, or wait?

A heuristic, and its only use is to excuse: a question asked again after something was changed is a new question. It
therefore takes a call for a mere look unless the name says otherwise.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final


class Effect(StrEnum):
    """What a call does."""

    LOOKS = "looks"
    CHANGES = "changes"
    WAITS = "waits"
    COMMANDS = "commands"
    """A shell or an interpreter: the command decides."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHANGING: Final = _words(
    """
    add append apply approve assign book buy cancel change charge clear click close commit complete configure
    confirm copy create deactivate activate delete deploy disable drag drop edit enable exchange fill fix format
    grant import insert install kill launch login logout make mark merge mkdir modify move multiedit navigate
    notebookedit order pay patch place post press publish purchase push put reboot redo refactor refuel refund
    register reject remove rename replace reply resend reset resolve resume restart restore revert rm rollback
    save schedule scroll select send set start stop store submit subscribe suspend swap switch sync tap toggle
    touch transfer type undo uninstall unset unsubscribe update upgrade upload upsert write
    """
)
_CHANGING_ELSEWHERE: Final = _words(
    """
    actualizar añadir borrar cambiar cancelar comprar crear editar eliminar enviar escribir guardar mover pagar publicar reservar
    adicionar apagar atualizar comprar criar editar enviar escrever excluir gravar salvar
    acheter ajouter annuler creer créer ecrire écrire effacer enregistrer envoyer modifier payer publier supprimer
    aktualisieren andern ändern anlegen bearbeiten bezahlen buchen erstellen hinzufugen hinzufügen kaufen loschen löschen
    schicken schreiben senden speichern stornieren verschieben
    aggiornare aggiungere cancellare creare eliminare inviare modificare pagare salvare scrivere spostare
    """
)
"""Spanish, Portuguese, French, German and Italian, as infinitives: wherever in a name they stand."""
_CHANGING_SIGNS: Final = re.compile(
    "修改|更新|写入|寫入|保存|发送|發送|删除|刪除|创建|創建|新增|添加|提交|上传|上傳|移动|取消|购买|支付|"
    "変更|書き込|書込|送信|削除|作成|追加|登録|購入|予約|수정|저장|전송|삭제|생성|추가|изменить|записать|сохранить|отправить|удалить|создать"
)
"""Chinese, Japanese, Korean and Russian."""
_LOOKING: Final = _words(
    """
    calculate cat check count describe diff explain fetch find get glob grep has inspect is list load lookup ls
    peek query read search show stat status summarize think validate verify view
    """
)
"""As the first word of a name these decide: `get_order` orders nothing."""
_WAITING: Final = frozenset({"sleep", "wait", "delay", "pause"})
_COMMANDING: Final = _words(
    """
    bash cmd code command commands exec execute interpreter ipython jupyter powershell python repl run sh shell
    terminal zsh
    """
)
_WORDS: Final = re.compile(r"[A-Z]?[a-zß-öø-ÿ]+|[A-Z]+(?![a-z])")
_NOWHERE: Final = re.compile(r"[0-9&]*>+\s*(?:/dev/null|&\s*[0-9])")
_WRITES: Final = re.compile(
    r"""
      (?:^|[^-=<>])>{1,2}\s*[\w./~$'"\\{]                                     # output into a file
    | <<-?\s*\\?['"]?\w                                                        # a script or a file typed in
    | \bsed\s+(?:-\w+\s+)*-\w*i | \b(?:perl|ruby)\s+-\w*i
    | \b(?:tee|rm|mv|cp|mkdir|rmdir|touch|ln|chmod|chown|patch|truncate|kill|pkill|unzip|reboot|apply_patch|systemctl)\s
    |
    \bgit\s+(?:-C\s+\S+\s+)?(?:add|am|apply|checkout|cherry-pick|clean|clone|commit|merge|mv|pull|push|rebase|reset|restore|revert|rm|stash|switch)\b
    |
    \b(?:pip3?|npm|yarn|pnpm|uv|poetry|cargo|gem|go|apt|apt-get|brew|conda)\s+(?:-\w+\s+)*(?:install|i|add|remove|uninstall|update|upgrade|ci|sync|get)\b
    | \bcurl\b[^\n|]*\s(?:-X\s*(?:POST|PUT|DELETE|PATCH)|-d\b|--data)
    | \b(?:write_text|write_bytes|writelines|os\.remove|os\.rename|shutil)\b | \.write\( | \bopen\([^)\n]*['"][wax]b?\+?['"]
    """,
    re.VERBOSE,
)
_EDITS: Final = re.compile(
    r"""\W*(?:"?\w+"?\s*:\s*"\s*)?(?:(?:edit|insert|append|create)\s+[\w./~'"-]|str_replace_editor\s+(?:create|str_replace|insert)\b)"""
)
"""The commands by which SWE-agent and its like edit files; no shell has commands of these names."""
_WRITING: Final = _words(
    """
    add append book buy charge comment create edit insert message multiedit notebookedit notify order patch pay post publish
    purchase put register reply resend send submit transfer upload upsert write
    """
)
_STEERING: Final = _words("char chars frame input key keys move next step stdin")
"""What a program under way is told: the same key pressed again is a step further."""
_SLEEPS: Final = re.compile(r'^\W*(?:"?\w+"?\s*:\s*")?\s*sleep\s+[\d.]+\w?\W*$')


@lru_cache(maxsize=4096)
def effect_of_name(tool: str) -> Effect:
    """What a tool of that name does."""
    first, *others = [w.lower() for w in _WORDS.findall(tool)] or [""]
    words = {first, *others}
    if first in _LOOKING:
        return Effect.LOOKS
    if words & _CHANGING or words & _CHANGING_ELSEWHERE or _CHANGING_SIGNS.search(tool.lower()):
        return Effect.CHANGES
    if words & _WAITING:
        return Effect.WAITS
    return Effect.COMMANDS if words & _COMMANDING else Effect.LOOKS


def effect_of_command(arguments: str | None) -> Effect:
    """What the command in the arguments of a shell does. One that was not recorded may have done anything."""
    if arguments is None:
        return Effect.CHANGES
    if _SLEEPS.match(arguments):
        return Effect.WAITS
    changes = _EDITS.match(arguments) or _WRITES.search(_NOWHERE.sub(" ", arguments))
    return Effect.CHANGES if changes else Effect.LOOKS


def effect_of(tool: str, arguments: str | None) -> Effect:
    """What a call does: by the name of the tool, or for a shell by the command in its arguments (as recorded, JSON)."""
    effect = effect_of_name(tool)
    return effect_of_command(arguments) if effect is Effect.COMMANDS else effect


def writes(tool: str, arguments: str | None) -> bool:
    """Whether a call puts down what its arguments say (a text, a message, an order), so that the same once more gets nobody further.

    A narrower question than whether it changes something: scrolling on, or pressing a key again, goes on from where it was."""
    if effect_of_name(tool) is Effect.COMMANDS:
        return _EDITS.match(arguments or "") is not None
    words = {w.lower() for w in _WORDS.findall(tool)}
    return effect_of_name(tool) is Effect.CHANGES and bool(words & _WRITING) and not words & _STEERING
