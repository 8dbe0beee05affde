"""Configurations as YAML. Imports no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from modeseek.errors import UsageError

Config = TypeVar("Config")


def to_yaml(config: Any) -> str:
    """A configuration as YAML, reloadable with ``from_yaml``."""
    import yaml

    plain = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    plain = {k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v for k, v in plain.items()}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def mapping(text: str, source: str) -> dict[str, Any]:
    """The options that YAML holds.

    Raises:
        UsageError: if it is no YAML, or no mapping.
    """
    import yaml

    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source} must be YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, dict):
        raise UsageError(f"{source} must hold a mapping of options, got {type(loaded).__name__}")
    return loaded


def from_yaml(text: str, source: str, kind: type[Config]) -> Config:
    """A configuration of a kind from YAML.

    Raises:
        UsageError: naming the key that is unknown or wrong, and ``source``.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(mapping(text, source))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # from _check, which names the key itself
            raise UsageError(f"{source}: {first['msg'].removeprefix('Value error, ')}") from error
        key, got = ".".join(map(str, first["loc"])), "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise UsageError(f"{source}, key {key}: {first['msg']}{got}") from error
