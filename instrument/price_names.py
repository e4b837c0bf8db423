"""Models under the names that providers, proxies and libraries give them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PROVIDERS: Final = {
    "gcp.vertex_ai": "google",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_ai": "azure",
    "aws.bedrock": "aws",
    "x_ai": "x-ai",
    "mistral_ai": "mistral",
}
"""Provider names of the GenAI conventions that genai-prices spells another way."""
_SELF_HOSTED: Final = (
    "ollama",
    "vllm",
    "lmstudio",
    "lm_studio",
    "llama.cpp",
    "llamacpp",
    "llamafile",
    "sglang",
    "local",
)
"""Who serves from the user's own machine bills by no list, whatever the model is called."""
_NOTE: Final = re.compile(r"\[[^\[\]]*+\]$")
"""A client's own note behind the name: Claude Code's `[1m]` for the long context window."""
_BEDROCK: Final = re.compile(r"^(?:(?:us|eu|apac|au|jp|ca|sa|us-gov|global)\.)?(?:[a-z0-9]+)\.(?=[a-z])")
"""Amazon Bedrock's region and vendor: `us.anthropic.`, `amazon.`."""
_VERSION: Final = re.compile(r"-v\d+(?::\d+)?$")
_GATEWAYS: Final = 8
"""Names before the model's own that are looked behind: each service that passes a request on may put its name before."""
_DAY: Final = re.compile(r"[-@]20\d\d-?\d\d-?\d\d$")


def spellings(provider: str | None, model: str) -> Iterator[tuple[str | None, str]]:
    """Provider and name under which a price list may have the model, likeliest first; provider None: to be told from the name."""
    for _ in range(_GATEWAYS):
        yield from _as_written(provider, model)
        behind = _behind(provider, model)
        if behind is None:
            return
        provider, model = behind


def _as_written(provider: str | None, model: str) -> Iterator[tuple[str | None, str]]:
    name = _NOTE.sub("", model.strip().lower())
    said = (provider or "").strip().lower()
    home = _PROVIDERS.get(said, said) or None
    if home:
        yield home, name
        yield home.partition(".")[0], name  # Vercel's `anthropic.messages`
    if _self_hosted(home):
        return
    if _BEDROCK.match(name):
        yield "aws", name
    if "@" in name:  # Vertex AI's date
        yield "google", name
        yield home, name.replace("@", "-")
    yield None, name
    yield None, name.removesuffix("-latest")


def _behind(provider: str | None, model: str) -> tuple[str, str] | None:
    """Provider and model that stand in the model's name: `anthropic/claude-...`."""
    said = (provider or "").strip().lower()
    if _self_hosted(_PROVIDERS.get(said, said)):
        return None
    name = _NOTE.sub("", model.strip().lower())
    for mark in "/:":
        head, found, rest = name.partition(mark)
        if found and rest:
            return _PROVIDERS.get(head, head), rest
    return None


def _self_hosted(provider: str | None) -> bool:
    return bool(provider) and str(provider).startswith(_SELF_HOSTED)


def plain(model: str) -> str:
    """The name without who serves it, where, since when and in which version: `claude-sonnet-4-5` of
    `us.anthropic.claude-sonnet-4-5-20250929-v1:0`."""
    name = _NOTE.sub("", model.strip().lower()).rsplit("/", 1)[-1]
    return _DAY.sub("", _VERSION.sub("", _BEDROCK.sub("", name)))
