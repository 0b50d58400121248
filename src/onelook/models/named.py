"""Build a module from a settings block: a name from a known table and its arguments."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from onelook.recipe import NamedSettings

Module = TypeVar("Module", bound=nn.Module)


def build_named(
    kind: str,
    known: Mapping[str, type[Module]],
    settings: NamedSettings,
    forced: Mapping[str, Any] | None = None,
) -> Module:
    """The module that ``settings`` name in a table of ``kind``.

    ``forced`` are facts that win over ``settings``, as far as the class takes them.
    """
    if settings.name not in known:
        raise ValueError(f"unknown {kind} {settings.name!r}; known: {', '.join(known)}")
    chosen = known[settings.name]
    # A class without an __init__ of its own shows nn.Module's *args and **kwargs.
    parameters = {
        name: one
        for name, one in inspect.signature(chosen).parameters.items()
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    who = f"{kind} {settings.name!r}"
    unknown = [name for name in settings.arguments if name not in parameters]
    if unknown:
        raise ValueError(
            f"{who} has no argument {', '.join(map(repr, unknown))}; "
            f"known: {', '.join(parameters) or 'none'}"
        )
    facts = {name: value for name, value in (forced or {}).items() if name in parameters}
    arguments = {**settings.arguments, **facts}
    required = [name for name, one in parameters.items() if one.default is one.empty]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise ValueError(f"{who} needs {', '.join(missing)}")
    try:
        return chosen(**arguments)
    except TypeError as error:
        raise ValueError(f"{who} cannot be built from {arguments}: {error}") from error
