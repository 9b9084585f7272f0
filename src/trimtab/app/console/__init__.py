"""What a trader reads in the terminal, as functions of plain values: streams, then what is printed on them."""

from trimtab.app.console.cells import escaped
from trimtab.app.console.listings import (
    print_findings,
    print_signals,
    print_strategies,
    print_strategy,
    print_sweep,
)
from trimtab.app.console.run import print_run
from trimtab.app.console.streams import Progress, jsonable, progress, say, spell_out, stderr, stdout, write_json

__all__ = [
    "Progress",
    "escaped",
    "jsonable",
    "print_findings",
    "print_run",
    "print_signals",
    "print_strategies",
    "print_strategy",
    "print_sweep",
    "progress",
    "say",
    "spell_out",
    "stderr",
    "stdout",
    "write_json",
]
