"""Options that several commands have, and options that belong together as one noun: a frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from trimtab.app import units

SpecFile = Annotated[
    Path, typer.Argument(metavar="SPEC", help="A YAML or JSON file that says a whole run.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace one value, e.g. models.0.params.slow=50. Repeatable."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The store; default: $TRIMTAB_DATA, else ./trimtab-data."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]


def instant_of(option: str, text: str) -> int:
    """ns UTC of the date or instant that an option was given; TrimtabError where it is none."""
    from trimtab.types import SECOND, TrimtabError

    try:
        when = units.instant(units.date(text))
    except ValueError as error:
        raise TrimtabError(f"{option} {text}: expected {error}") from None
    return int(when.timestamp()) * SECOND


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each parameter that is a dataclass taken apart: its fields become options of the command line.

    A field is written as an option of a command is: `venue: Annotated[str, typer.Option("--venue", …)] = ""`. The
    command itself gets the dataclass, put together again.
    """
    hints = get_type_hints(command, include_extras=True)
    nouns: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        noun = nouns.get(parameter.name)
        fields = inspect.signature(noun).parameters.values() if noun else (parameter,)
        types = get_type_hints(noun, include_extras=True) if noun else hints
        parameters += [
            f.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[f.name]) for f in fields
        ]  # by keyword: what has a default may stand before what has none

    @functools.wraps(command)
    def taken_apart(**given: Any) -> None:
        for name, noun in nouns.items():
            given[name] = noun(**{field.name: given.pop(field.name) for field in dataclasses.fields(noun)})
        command(**given)

    shown: Any = taken_apart
    shown.__signature__ = inspect.Signature(parameters)
    shown.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return taken_apart
