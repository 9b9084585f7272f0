"""`trimtab doctor`: does this install work, from import to verdict?"""

from __future__ import annotations

from typing import Final

import typer

from trimtab.app import console
from trimtab.app.cli_options import DataOption, JsonOption

_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Test this install: every part, from import to verdict, on bars made here.

    Imports bars, backtests them, runs the same bars through the engine, holds
    an honest and a peeking strategy against the laws, and gives a verdict; and
    looks at Python, packages, the cache, the disk, your store and your trial
    ledger. Writes nothing outside a temporary folder. The first time it
    compiles, which takes about half a minute.

    Exit codes: 1 a part failed.

    [bold]Examples[/bold]
      trimtab doctor
      trimtab doctor --data demo/data --json
    """
    from trimtab.app.doctor import PARTS, Told, examine

    found: list[Told] = []
    with console.progress(shown=not as_json) as progress:
        parts = examine(None if data is None else str(data))
        for k, (name, _) in enumerate(PARTS):
            progress(f"testing {name}", k, len(PARTS))
            found.append(next(parts))
        parts.close()
    failed = [part for part in found if part.state == "failed"]
    if as_json:
        import msgspec

        console.write_json({"passed": not failed, "parts": msgspec.to_builtins(found)})
    else:
        out = console.stdout()
        for part in found:
            out.print(f"[{_STYLES[part.state]}]{part.state:8}[/]{part.name:10}{console.escaped(part.told)}")
            if part.remedy:
                out.print(f"{'':18}[dim]{console.escaped(part.remedy)}[/]")
        out.print()
        out.print(f"{len(failed)} of {len(found)} parts failed." if failed else "Everything works.")
    if failed:
        raise typer.Exit(1)
