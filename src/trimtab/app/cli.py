"""The command line: `trimtab`. Commands are functions in `cli_*`; here are their order, their exit codes and `main`.

Nothing heavy is imported before a command runs: `trimtab --help` answers at once.

Exit codes: 0 good, 1 a check failed, 2 usage or bad input, 3 not enough data, 4 the book was halted, 70 a bug of
Trimtab, 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
import warnings
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from trimtab.app import (
    cli_advice,
    cli_config,
    cli_court,
    cli_doctor,
    cli_journal,
    cli_orthogonality,
    cli_paper,
    cli_parity,
    cli_run,
    cli_size,
    cli_strategies,
    cli_trials,
    cli_walkforward,
)
from trimtab.app.console import say, spell_out

BUG: Final = 70
INTERRUPTED: Final = 130
#: Seconds that an interrupted command has to put things in order; then it is ended.
PATIENCE: Final = 2.0
#: A line begun anew, and the cursor: a progress bar takes both.
AFTER_A_BAR: Final = "\r\x1b[2K\x1b[?25h"
#: Set by Ctrl-C: whatever goes wrong after it goes wrong because of it.
STOPPING: Final = threading.Event()

WELCOME: Final = """Systematic trading on one path: the backtest, paper and live call the same compiled rules.

New here? `trimtab demo` needs no network, no account and no data."""

#: The order of the help page: what a newcomer needs first.
ORDER: Final = (
    "demo",
    "data",
    "backtest",
    "sweep",
    "walkforward",
    "trials",
    "validate",
    "check",
    "strategies",
    "size",
    "replay",
    "report",
    "parity",
    "orthogonality",
    "paper",
    "status",
    "kill",
    "resume",
    "journal",
    "config",
    "doctor",
)
GROUPS: Final = ("Start here", "Data", "Research", "Trading", "Settings")
START, DATA, RESEARCH, TRADING, SETTINGS = GROUPS


class GuardedGroup(TyperGroup):
    """Every command's mistakes end here: one message on stderr and an exit code, never a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The first page, in plain text: Rich alone would take longer to import than the whole page may."""
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS]")
        formatter.write_paragraph()
        formatter.write_text(self.help)
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        width = max(len(name) for name, _ in commands) + 3
        for group in GROUPS:
            rows = [(name.ljust(width), _line(command)) for name, command in commands if _group(command) == group]
            with formatter.section(typer.style(group, bold=True)):
                formatter.write_dl(rows)
        with formatter.section(typer.style("Options", bold=True)):
            shown = (record for option in self.get_params(ctx) if (record := option.get_help_record(ctx)) is not None)
            formatter.write_dl([(names.replace(" <bool>", ""), meaning) for names, meaning in shown])
        formatter.write_paragraph()
        formatter.write_text("trimtab COMMAND --help says what a command does, what it writes, and shows examples.")

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            if _is_usage(error):
                say(cli_advice.on_usage(error))
                raise typer.Exit(2) from None
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if STOPPING.is_set():
                say("Interrupted.")
                raise typer.Exit(INTERRUPTED) from None
            code = report(error)
            if code is None:
                raise
            raise typer.Exit(code) from None


class DeferredData(TyperGroup):
    """The data commands, imported when one of them is asked for (they load Polars)."""

    def list_commands(self, ctx: Any) -> list[str]:
        self.load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self.load()
        return super().get_command(ctx, cmd_name)

    def load(self) -> None:
        if not self.commands:
            loaded = typer.main.get_command(importlib.import_module("trimtab.app.cli_data").app)
            self.commands.update(loaded.commands if isinstance(loaded, TyperGroup) else {})


def _group(command: Any) -> str:
    return str(command.rich_help_panel)


def _line(command: Any) -> str:
    return str(command.help).strip().split("\n\n")[0].replace("\n", " ").rstrip(".")


def _is_usage(error: Exception) -> bool:
    """A command line that typer could not read, but not its way of showing the help of a group."""
    return hasattr(error, "format_message") and type(error).__name__ != "NoArgsIsHelpError" and _has_context(error)


def _has_context(error: Any) -> bool:
    return getattr(error, "ctx", None) is not None


def report(error: Exception) -> int | None:
    """Says an error as a user needs it and gives its exit code; None if it is no business of ours (typer's own)."""
    if _is_usage(error):
        say(cli_advice.on_usage(error))
        return 2
    if isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "exit_code"):
        return None
    if os.environ.get("TRIMTAB_TRACEBACK"):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    # trimtab.types loads NumPy: if it is not there yet, the error cannot be one of its own.
    types: Any = sys.modules.get("trimtab.types")
    if types is not None and isinstance(error, types.TrimtabError):
        say(str(error))
        return int(getattr(error, "code", 2))
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return None  # the reader went away (`trimtab … | head`)
    if isinstance(error, OSError):
        say(cli_advice.on_files(error))
        return 2
    if own := cli_advice.on_own_code(error):
        say(own)
        return 2
    what = " ".join(str(error).split())
    say(
        f"This is a bug in Trimtab: {type(error).__name__}: {what}. "
        "Run it again with TRIMTAB_TRACEBACK=1 to see where, and report it with that traceback."
    )
    return BUG


app = typer.Typer(
    name="trimtab",
    cls=GuardedGroup,
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo", rich_help_panel=START)(cli_run.demo)
app.add_typer(
    typer.Typer(no_args_is_help=True, help="Import, make up, list, show, validate and query market data."),
    name="data",
    cls=DeferredData,
    rich_help_panel=DATA,
)
app.command("backtest", rich_help_panel=RESEARCH)(cli_run.backtest)
app.command("sweep", rich_help_panel=RESEARCH)(cli_run.sweep)
app.command("walkforward", rich_help_panel=RESEARCH)(cli_walkforward.walkforward)
app.add_typer(cli_trials.app, name="trials", rich_help_panel=RESEARCH)
app.command("check", rich_help_panel=RESEARCH)(cli_strategies.check)
app.command("validate", rich_help_panel=RESEARCH)(cli_court.validate)
app.add_typer(cli_strategies.app, name="strategies", rich_help_panel=RESEARCH)
app.command("size", rich_help_panel=RESEARCH)(cli_size.size)
app.command("replay", rich_help_panel=RESEARCH)(cli_run.replay)
app.command("report", rich_help_panel=RESEARCH)(cli_run.report)
app.command("parity", rich_help_panel=RESEARCH)(cli_parity.parity)
app.command("orthogonality", rich_help_panel=RESEARCH)(cli_orthogonality.orthogonality)
app.command("paper", rich_help_panel=TRADING)(cli_paper.paper)
app.command("status", rich_help_panel=TRADING)(cli_paper.status)
app.command("kill", rich_help_panel=TRADING)(cli_paper.kill)
app.command("resume", rich_help_panel=TRADING)(cli_paper.resume)
app.add_typer(cli_journal.app, name="journal", rich_help_panel=TRADING)
app.add_typer(cli_config.app, name="config", rich_help_panel=SETTINGS)
app.command("doctor", rich_help_panel=SETTINGS)(cli_doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"trimtab {version('trimtab')}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=WELCOME)
def root(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options of the program itself; alone, `trimtab` shows its first page."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """The entry point of the `trimtab` command."""
    spell_out()
    warnings.showwarning = _warn
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _unraisable
    try:
        app(prog_name="trimtab")
    except KeyboardInterrupt:
        say("Interrupted.")
        _end()
    except SystemExit as done:
        if done.code == INTERRUPTED:
            _end()
        raise


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a user needs it: without the place in the source that it came from."""
    say(f"Warning: {message}")


def _interrupt(*_: Any) -> NoReturn:
    """Ctrl-C: an exception, so that whatever was begun is undone; but not every thread and compiler lets go at once."""

    def give_up() -> None:
        os.write(2, f"{AFTER_A_BAR if sys.stderr.isatty() else ''}Interrupted.\n".encode())  # and nothing in between
        os._exit(INTERRUPTED)

    STOPPING.set()
    patience = threading.Timer(PATIENCE, give_up)
    patience.daemon = True
    patience.start()
    raise KeyboardInterrupt


def _unraisable(lost: Any) -> None:
    """An exception without a caller to go to. An interrupt that fell into a callback of the compiler is sent again."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        again = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


def _end() -> NoReturn:
    """Leave without waiting for threads that are still at work: what they write is whole or not there."""
    sys.stdout.flush()
    os._exit(INTERRUPTED)
