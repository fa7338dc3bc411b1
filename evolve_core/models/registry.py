"""Which models a run may use: from ``--models`` text and the environment to providers.

``anthropic:NAME``, ``openai:NAME``, ``local:NAME@http://127.0.0.1:8000/v1``, several with commas. A price may
follow, in US dollars per million tokens in and out: ``anthropic:NAME=3/15``. Nothing is ever asked of a model that was
not named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from evolve_core.errors import UsageError
from evolve_core.models.anthropic import Anthropic
from evolve_core.models.openai import OpenAI
from evolve_core.models.provider import MissingExtra, Price, Provider
from evolve_core.models.sdk import Patience

_FORM = re.compile(
    r"(?P<kind>\w+):(?P<model>[^@=\s]+)(?:@(?P<url>https?://[^\s=]+))?(?:=(?P<input>[\d.]+)/(?P<output>[\d.]+))?"
)
KEY_VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_URL_VARIABLES = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}
OFF = "Language models are off; everything else works. --models anthropic:NAME (or openai:, local:) turns one on."


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One entry of ``--models``. ``base_url`` None is the API's own address."""

    kind: str
    model: str
    base_url: str | None
    price: Price | None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.model}"


def parse_models(text: str) -> tuple[ModelSpec, ...]:
    """Errors: ``UsageError`` for what is no model."""
    return tuple(_parse_one(part.strip()) for part in text.split(",") if part.strip())


def _parse_one(text: str) -> ModelSpec:
    match = _FORM.fullmatch(text)
    kind = match["kind"] if match else ""
    if match is None or kind not in ("anthropic", "openai", "local"):
        raise UsageError(
            f"{text!r} is no model. Say anthropic:NAME, openai:NAME or local:NAME@http://127.0.0.1:8000/v1, "
            "several with commas; a price in dollars per million tokens may follow, as in anthropic:NAME=3/15."
        )
    if kind == "local" and match["url"] is None:
        raise UsageError(f"{text!r} needs the server's address: {text}@http://127.0.0.1:8000/v1")
    return ModelSpec(kind, match["model"], match["url"], _price(text, match["input"], match["output"]))


def _price(text: str, read: str | None, written: str | None) -> Price | None:
    if read is None or written is None:
        return None
    try:
        return Price(float(read), float(written))
    except ValueError:
        raise UsageError(f"{text!r} ends in no price. Say dollars per million tokens: =3/15") from None


def providers_from(
    spec: str | None, environ: Mapping[str, str], patience: Patience | None = None
) -> tuple[list[Provider], list[str]]:
    """The providers that ``spec`` names and that can be used, and one notice for each that cannot, and why.

    Errors: ``UsageError`` where ``spec`` cannot be read.
    """
    wanted = parse_models(spec or "")
    if not wanted:
        return [], [OFF]
    providers: list[Provider] = []
    notices: list[str] = []
    for each in dict.fromkeys(wanted):
        variable = KEY_VARIABLES.get(each.kind)
        if variable is not None and not environ.get(variable):
            notices.append(f"{each.name} is off: {variable} is not set.")
            continue
        try:
            providers.append(_provider(each, environ, patience))
        except MissingExtra as error:
            notices.append(f"{each.name} is off. {error}")
            continue
        if each.price is None and each.kind != "local":
            notices.append(
                f"The price of {each.name} is not known, so its cost cannot be shown or limited; "
                f"{each.name}=IN/OUT sets it, in dollars per million tokens."
            )
    return providers, notices


def _provider(spec: ModelSpec, environ: Mapping[str, str], patience: Patience | None) -> Provider:
    if spec.kind == "local":
        return OpenAI(spec.model, None, spec.base_url, spec.price, patience)
    key = environ[KEY_VARIABLES[spec.kind]]
    base_url = spec.base_url or environ.get(_URL_VARIABLES[spec.kind]) or None
    if spec.kind == "anthropic":
        return Anthropic(spec.model, key, base_url, spec.price, patience)
    return OpenAI(spec.model, key, base_url, spec.price, patience)
