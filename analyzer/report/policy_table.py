"""The fields of a section of the policy as a list, for the detectors' pages and `docs/policy.md`."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec


def policy_table(section: Any) -> str:
    """One line per field of a policy section (a msgspec struct): name, default and meaning, as Markdown."""
    hints = get_type_hints(section, include_extras=True)
    return "\n".join(f"- `{f.name} = {_toml(f)}`: {_meaning(hints[f.name])}" for f in msgspec.structs.fields(section))


def _toml(field: msgspec.structs.FieldInfo) -> str:
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if default is None:
        return "(not set)"
    return str(default) if not isinstance(default, str) else f'"{default}"'


def _meaning(hint: Any) -> str:
    """The description in a field's annotations; nested `Annotated` types are flat by the time we see them."""
    metas = [a for a in get_args(hint)[1:] if isinstance(a, msgspec.Meta)] if get_origin(hint) is Annotated else []
    return next((str(m.description) for m in reversed(metas) if m.description), "")
