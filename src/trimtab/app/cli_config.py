"""`trimtab config`: is this settings file good, and what may stand in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trimtab.app import console
from trimtab.app.cli_options import JsonOption, SetOption, SpecFile

if TYPE_CHECKING:
    from trimtab.types import Spec

app = typer.Typer(no_args_is_help=True, help="Check a settings file; print its JSON Schema; show presets.")

#: Files that are taken for a spec by mistake, and where they belong.
_NO_SPECS: Final = {
    ".py": "a strategy's file: name it in a spec (`models: [{{strategy: {name}}}]`), or test it: trimtab check {path}",
    ".csv": "a file of bars: trimtab data import {path}",
    ".parquet": "a file of bars: trimtab data import {path}",
}


def read(path: Path, settings: list[str] | None = None, start: str | None = None, end: str | None = None) -> Spec:
    """The whole spec that a file says, with what the command line lays over it; strategy files by their whole paths.

    A run's id must not depend on the folder that the command was given in, and its bundle must run in any. Where a file
    was taken in place of a preset, or a preset's limit is not in force, that is said.
    """
    from trimtab.app.config import complete, read_tree, spec_of
    from trimtab.app.includes import warnings_of
    from trimtab.app.overrides import overrides_of
    from trimtab.research.canonical import with_rooted_files
    from trimtab.types import TrimtabError

    kind = _NO_SPECS.get(path.suffix.lower())
    if kind:
        what = kind.format(path=path, name=path.name)
        raise TrimtabError(f"{path}: expected a spec, a YAML or JSON file; this is {what}")
    if not path.suffix and not path.exists():
        raise TrimtabError(
            f"{path}: there is no such file; expected a spec, a YAML or JSON file such as book.yaml that names "
            "instruments and strategies"
        )
    root, included = read_tree(path, overrides_of(settings, start=start, end=end))
    spec = with_rooted_files(complete(spec_of(root)))
    for warning in warnings_of(root, included):
        console.say(warning)
    return spec


@app.command("check")
def check(spec: SpecFile, settings: SetOption = None, as_json: JsonOption = False) -> None:
    """Say whether a settings file is good; list every mistake with its line, or print the whole spec.

    Nothing is written and no bars are read; files that the spec names are, to
    the last row of its members. The printed spec has every default filled in;
    the run id is the one that a backtest of it gets.

    [bold]Examples[/bold]
      trimtab config check book.yaml
      trimtab config check book.yaml --set models.0.params.slow=100 --json
    """
    from trimtab.app.document import read_layers
    from trimtab.research.canonical import plain, run_id, to_yaml

    found = read(spec, settings)
    if as_json:
        console.write_json({"run_id": run_id(found), "spec": plain(found)})
        return
    typer.echo(to_yaml(found), nl=False)
    for name in dict.fromkeys(one.preset for one in read_layers(spec)[1] if one.preset):
        console.say(f"{spec} includes the preset {name}: trimtab config presets {name}")
    if found.members:
        from trimtab.data.members import passed_over

        if others := passed_over(found.members, found.universe):
            console.say(f"Note: {others}.")
    console.say(f"{spec} is good. Run id {run_id(found)[:16]}.")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema (2020-12) of a settings file, for completion and checks in an editor.

    Prints on stdout and writes nothing. In VS Code, with the YAML extension,
    put this on the first line of a spec:
    [bold]# yaml-language-server: $schema=spec.schema.json[/bold]

    [bold]Examples[/bold]
      trimtab config schema > spec.schema.json
    """
    from trimtab.app.schema import schema as spec_schema

    console.write_json(spec_schema())


@app.command("presets")
def presets_(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Print this one's file.", show_default=False)] = "",
    as_json: JsonOption = False,
) -> None:
    """List the presets of limits that ship with Trimtab, or print one.

    A spec takes one with [bold]include: limits/pairs[/bold]; two are not mixed. Writes
    nothing. To change one, print it into a file of your own.

    [bold]Examples[/bold]
      trimtab config presets
      trimtab config presets limits/pairs
      trimtab config presets limits/pairs > my_limits.yaml
    """
    from trimtab.app.document import parse_document
    from trimtab.app.includes import settings_of
    from trimtab.app.presets import find_preset, presets

    if name:
        found = find_preset(name)
        if as_json:
            console.write_json(found._asdict())
        else:
            typer.echo(found.text, nl=False)
        return
    if as_json:
        console.write_json([one._asdict() for one in presets()])
        return
    for one in presets():
        told = [f"{'.'.join(path[1:])} {value}" for path, value in settings_of(parse_document(one.text, one.name))]
        console.stdout().print(one.name, style="bold", markup=False)
        console.stdout().print(f"  {one.about}\n  {', '.join(told)}", markup=False, soft_wrap=True)
    console.say("A spec takes one with `include: NAME`; trimtab config presets NAME prints it.")
