"""`trimtab config`: is this settings file good, and what may stand in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trimtab.app import console

app = typer.Typer(no_args_is_help=True, help="Check a settings file; print its JSON Schema.")

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="A YAML or JSON file.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace one value, e.g. models.0.params.slow=50. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]


@app.command("check")
def check(spec: SpecFile, settings: SetOption = None, as_json: JsonOption = False) -> None:
    """Say whether a settings file is good; list every mistake with its line, or print the whole spec.

    Nothing is written and no data is read. The printed spec has every default filled in; the run id is the one that a
    backtest of it gets.

    [bold]Examples[/bold]
      trimtab config check book.yaml
      trimtab config check book.yaml --set models.0.params.slow=100 --json
    """
    from trimtab.app.config import complete, read_spec
    from trimtab.app.overrides import overrides_of
    from trimtab.research.canonical import plain, run_id, to_yaml

    found = complete(read_spec(spec, overrides_of(settings)))
    if as_json:
        console.write_json({"run_id": run_id(found), "spec": plain(found)})
        return
    typer.echo(to_yaml(found), nl=False)
    console.say(f"{spec} is good. Run id {run_id(found)[:16]}.")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema (2020-12) of a settings file, for completion and checks in an editor.

    Prints on stdout and writes nothing. In VS Code, with the YAML extension, put this on the first line of a spec:
    [bold]# yaml-language-server: $schema=spec.schema.json[/bold]

    [bold]Examples[/bold]
      trimtab config schema > spec.schema.json
    """
    from trimtab.app.schema import schema as spec_schema

    console.write_json(spec_schema())
