"""`trimtab size`: what each method would hold for an edge, and what that does to wealth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trimtab.app import console
from trimtab.app.cli_options import JsonOption, grouped

if TYPE_CHECKING:
    import polars as pl

    from trimtab.bounds import Bounds
    from trimtab.portfolio.sizing.edges import Law
    from trimtab.portfolio.sizing.methods import Holding, Question

_edge = partial(typer.Option, rich_help_panel="The edge, said in one of four ways")
_asked = partial(typer.Option, rich_help_panel="What the methods are asked")

WAYS: Final = """\
the edge is missing. Say it in one of four ways:
  trimtab size --mean 8% --vol 20% --rate 2%      a mean and a volatility per year
  trimtab size --sharpe 0.6 --vol 20%             a Sharpe ratio and a volatility per year
  trimtab size --win-rate 55% --payoff 1.2        a bet, again and again
  trimtab size --returns returns.csv              returns that were measured"""

#: Without --years a stated edge counts as known from so many.
ASSUMED_YEARS: Final = 10.0
#: Returns, or bets, in a year.
ASSUMED_PERIODS: Final = 252.0
#: Share of equity at risk of a fixed fraction: the usual one of traders, where a trade can lose its whole stake.
AT_RISK: Final = 0.02
#: Names by which a column of returns is known.
RETURNS: Final = ("return", "returns", "ret", "r", "pnl_pct")
#: Returns beyond it are percents or prices, or nothing that a formula should be trusted with.
LARGEST_RETURN: Final = 10.0


@dataclass(frozen=True)
class Stated:
    """The edge as it was written."""

    mean: Annotated[str | None, _edge("--mean", help="Arithmetic mean return per year, e.g. 8%.")] = None
    vol: Annotated[str | None, _edge("--vol", help="Volatility per year, e.g. 20%.")] = None
    rate: Annotated[str, _edge("--rate", help="What cash earns per year.")] = "0%"
    sharpe: Annotated[str | None, _edge("--sharpe", help="Sharpe ratio per year, over --rate.")] = None
    win_rate: Annotated[str | None, _edge("--win-rate", help="Share of bets that win, e.g. 55%.")] = None
    payoff: Annotated[str | None, _edge("--payoff", help="Average win over average loss, e.g. 1.2.")] = None
    loss: Annotated[
        str, _edge("--loss", help="What a losing bet loses of its position, e.g. a stop at 2%; 100%: the stake.")
    ] = "100%"
    returns: Annotated[
        Path | None, _edge("--returns", metavar="FILE", help="Simple returns, fractions: a column of a CSV or Parquet.")
    ] = None
    column: Annotated[str | None, _edge("--column", metavar="NAME", help="Which column of it.")] = None
    periods: Annotated[
        str | None, _edge("--periods", metavar="N", help="Returns, or bets, in a year. Default: 252.")
    ] = None
    years: Annotated[
        str | None, _edge("--years", metavar="N", help="Years of experience behind a stated edge. Default: 10.")
    ] = None


@dataclass(frozen=True)
class Asked:
    """What the methods are asked, as it was written."""

    fraction: Annotated[
        str | None, _asked("--fraction", help="Of a fixed fraction. Default: 100% of wealth; of bets, 2% at risk.")
    ] = None
    target_vol: Annotated[str, _asked("--target-vol", help="Of a volatility target, per year.")] = "15%"
    share: Annotated[str, _asked("--share", help="Of Kelly, for fractional Kelly.")] = "50%"
    fall: Annotated[str, _asked("--fall", help="The loss whose chances are told.")] = "20%"
    risk: Annotated[str, _asked("--risk", help="Chance of ever losing that, which Kelly with a limit accepts.")] = "10%"
    ruin: Annotated[str, _asked("--ruin", help="The loss that counts as ruin.")] = "50%"
    goal: Annotated[str, _asked("--goal", help="Wealth to be reached, of the start: 120% is a gain of 20%.")] = "120%"
    horizon: Annotated[str, _asked("--horizon", metavar="YEARS", help="By when.")] = "1"
    cap: Annotated[str, _asked("--cap", help="The most that is held, times wealth.")] = "10"
    seed: Annotated[int, _asked("--seed", min=0, help="Of the Monte Carlo.")] = 0


@grouped
def size(
    stated: Stated,
    asked: Asked,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw growth and risk by size, as one HTML file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each sizing method would hold for an edge, and the chances of losing with it.

    A row per method: the part of wealth it holds, its growth, and the chances of ever being 20% below the start, of a
    20% fall from a peak within a year, of ruin, and of reaching a goal. Knows nothing of costs, nor whether the edge is
    real. Writes nothing, or the chart of --plot.

    [bold]Examples[/bold]
      trimtab size --mean 8% --vol 20% --rate 2%
      trimtab size --sharpe 0.6 --vol 20% --years 5 --risk 5%
      trimtab size --win-rate 55% --payoff 1.2 --loss 2% --periods 100
      trimtab size --returns returns.csv --column strategy --plot sizes.html
    """
    from trimtab.app import size_page
    from trimtab.portfolio.sizing.methods import holdings

    if plot is not None:
        size_page.check_path(plot)
    law, told = read_law(stated)
    question = read_question(stated, asked, law)
    with console.progress(shown=not as_json) as progress:
        progress("drawing paths", 0, 0)
        rows = holdings(law, question)
        figures = figures_of(law, question, told, rows)
        if plot is not None:
            size_page.write(plot, law, question, rows, figures)
    if plot is not None:
        console.say(f"Chart: {plot}")
    if as_json:
        console.write_json(figures)
    else:
        from trimtab.app.console.size import print_sizes

        print_sizes(console.stdout(), figures)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_law(stated: Stated) -> tuple[Law, str]:
    """The edge that was stated, and the line that says it back; TrimtabError if it is missing, or said twice."""
    from trimtab.portfolio.sizing.edges import Edge, bet, edge_from_sharpe
    from trimtab.types import TrimtabError

    ways = {
        "--mean": stated.mean,
        "--sharpe": stated.sharpe,
        "--win-rate": stated.win_rate,
        "--returns": stated.returns,
    }
    given = [name for name, value in ways.items() if value is not None]
    if not given:
        raise TrimtabError(WAYS)
    if len(given) > 1:
        raise TrimtabError(f"{' and '.join(given)}: one edge at a time; leave all but one of them out")
    _check_company(stated, given[0])
    rate = read("--rate", stated.rate, "fraction", low=-1.0, high=1.0, low_open=True)
    if stated.returns is not None:
        return _measured(stated, rate)
    if stated.win_rate is not None:
        p = read("--win-rate", stated.win_rate, "fraction", low=0.0, high=1.0, low_open=True, high_open=True)
        payoff = read("--payoff", str(stated.payoff), "number", low=0.0, high=1e6, low_open=True)
        loss = read("--loss", stated.loss, "fraction", low=0.0, high=1.0, low_open=True)
        many = _periods(stated)
        told = f"a bet that wins {100.0 * p:.4g}% of the time, {payoff:g} times what it loses, {many:g} times a year"
        return bet(p, payoff * loss, loss, rate / many), told
    vol = read("--vol", str(stated.vol), "fraction", low=0.0, high=10.0, low_open=True)
    if stated.sharpe is not None:
        edge = edge_from_sharpe(read("--sharpe", stated.sharpe, "number", low=-100.0, high=100.0), vol, rate)
    else:
        edge = Edge(read("--mean", str(stated.mean), "fraction", low=-10.0, high=10.0), vol, rate)
    return edge, f"mean {edge.mean:.2%} a year, volatility {vol:.2%}, cash {rate:.2%}"


def _check_company(stated: Stated, way: str) -> None:
    """Each way of saying the edge has options of its own: which of them are missing, and which do not belong."""
    from trimtab.types import TrimtabError

    needs = {"--mean": "--vol", "--sharpe": "--vol", "--win-rate": "--payoff"}
    values = {
        "--vol": stated.vol,
        "--payoff": stated.payoff,
        "--loss": None if stated.loss == "100%" else stated.loss,
        "--column": stated.column,
        "--periods": stated.periods,
        "--years": stated.years,
    }
    known = {
        "--mean": ("--vol", "--years"),
        "--sharpe": ("--vol", "--years"),
        "--win-rate": ("--payoff", "--loss", "--periods", "--years"),
        "--returns": ("--column", "--periods"),
    }
    needed = needs.get(way)
    if needed is not None and values[needed] is None:
        example = {"--vol": "--vol 20%", "--payoff": "--payoff 1.2"}[needed]
        raise TrimtabError(f"{way} needs {needed} beside it, e.g. {example}")
    stray = next((name for name, value in values.items() if value is not None and name not in known[way]), None)
    if stray is not None:
        raise TrimtabError(f"{stray} means nothing beside {way}; leave it out")


def _measured(stated: Stated, rate: float) -> tuple[Law, str]:
    from trimtab.portfolio.sizing.edges import sample_of

    path, many = Path(str(stated.returns)), _periods(stated)
    values, left_out, name = returns_of(path, stated.column)
    law = sample_of(values, rate=rate / many)
    mean, vol = law.mean * many, law.vol * math.sqrt(many)
    told = f"{len(values):,} returns of {name} in {path.name}, {many:g} a year: mean {mean:.2%} over cash, "
    told += f"volatility {vol:.2%}" + (f"; rows left out as empty: {left_out:,}" if left_out else "")
    return law, told


def returns_of(path: Path, column: str | None) -> tuple[list[float], int, str]:
    """The returns of a file, how many empty rows were left out, and the column's name.

    TrimtabError says which column was meant, and which row holds what cannot be a return.
    """
    from trimtab.types import TrimtabError
    from trimtab.words import near, shortest

    frame = _frame(path)
    numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    if column is None:
        known = [name for name in numeric if name.lower() in RETURNS]
        found = known if len(known) == 1 else numeric
        if len(found) != 1:
            listed = ", ".join(numeric) or "none"
            raise TrimtabError(f"{path}: which column holds the returns? Say it by --column; of numbers: {listed}")
        column = found[0]
    if column not in numeric:
        listed = ", ".join(numeric) or "none"
        raise TrimtabError(f"{path}: no column of numbers is named {column!r}{near(column, numeric)}; there: {listed}")
    values = frame[column].cast(float).fill_nan(None)
    good = values.drop_nulls()
    wrong = [k for k, value in enumerate(values) if value is not None and not -1.0 <= value <= LARGEST_RETURN]
    if wrong:
        at = values[wrong[0]]
        raise TrimtabError(
            f"{path}, row {wrong[0] + 1}: {column} is {shortest(at)}: expected simple returns as fractions (0.01 is "
            "1%), from -1 up. Are these percents, or prices?"
        )
    return good.to_list(), len(values) - len(good), column


def _frame(path: Path) -> pl.DataFrame:
    import polars as pl

    from trimtab.types import TrimtabError

    if not path.is_file():
        raise TrimtabError(f"--returns {path}: no such file; expected a CSV or Parquet file with a column of returns")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        said = " ".join(str(error).split("\n")[0].split())
        raise TrimtabError(f"--returns {path}: cannot be read as CSV or Parquet ({said})") from error


def _periods(stated: Stated) -> float:
    if stated.periods is None:
        return ASSUMED_PERIODS
    return read("--periods", stated.periods, "number", low=1.0, high=600_000.0)


def read_question(stated: Stated, asked: Asked, law: Law) -> Question:
    """What is asked, in the units of the methods."""
    from trimtab.portfolio.sizing.edges import Draws, Edge
    from trimtab.portfolio.sizing.methods import Question

    def share(option: str, text: str, **bounds: Any) -> float:
        return read(option, text, "fraction", low=0.0, low_open=True, **bounds)

    per_year = 1.0 if isinstance(law, Edge) else _periods(stated)
    if stated.returns is not None and not isinstance(law, Edge):
        years = law.returns.size / per_year
    elif stated.years is not None:
        years = read("--years", stated.years, "number", low=0.0, high=1_000.0, low_open=True)
    else:
        years = ASSUMED_YEARS
    loss = read("--loss", stated.loss, "fraction", low=0.0, high=1.0, low_open=True)
    fixed = AT_RISK / loss if stated.win_rate is not None else 1.0
    if asked.fraction is not None:
        fixed = read("--fraction", asked.fraction, "fraction", low=0.0, high=100.0) / loss
    return Question(
        per_year=per_year,
        years=years,
        fraction=fixed,
        target_vol=share("--target-vol", asked.target_vol, high=10.0),
        share=share("--share", asked.share, high=2.0),
        fall=share("--fall", asked.fall, high=1.0, high_open=True),
        risk=share("--risk", asked.risk, high=1.0, high_open=True),
        ruin=share("--ruin", asked.ruin, high=1.0, high_open=True),
        goal=read("--goal", asked.goal, "fraction", low=1.0, high=1e6, low_open=True),
        horizon=read("--horizon", asked.horizon, "number", low=0.0, high=1_000.0, low_open=True),
        cap=read("--cap", asked.cap, "number", low=0.0, high=1e6, low_open=True),
        draws=Draws(paths=10_000, seed=asked.seed),
    )


def read(option: str, text: str, kind: str, **bounds: Any) -> float:
    """The number that an option's text says; TrimtabError with the option and what it accepts."""
    from trimtab.app.document import Place, Scalar
    from trimtab.app.fields import Field, convert
    from trimtab.bounds import Bounds
    from trimtab.types import TrimtabError

    accepted: Bounds = Bounds(**bounds)
    try:
        return float(convert(Field(kind, "", accepted), Scalar(text, not text.strip(), False, Place(option))))
    except ValueError as error:
        raise TrimtabError(f"{option} {text}: expected {error}") from None


# --- telling ---------------------------------------------------------------------------------------------------------


def figures_of(law: Law, q: Question, told: str, rows: tuple[Holding, ...]) -> dict[str, Any]:
    """Everything that is printed, as plain values."""
    from trimtab.portfolio.sizing.chances import break_even_fraction
    from trimtab.portfolio.sizing.edges import Edge, Sample
    from trimtab.portfolio.sizing.methods import annual_edge
    from trimtab.portfolio.sizing.utility import TargetUtility

    edge = annual_edge(law, q.per_year)
    return {
        "edge": told,
        "sharpe": law.sharpe * math.sqrt(q.per_year),
        "years": q.years,
        "exact": isinstance(law, Edge),
        "bet": edge is None,
        "loss": -float(law.returns.min()) if isinstance(law, Sample) else None,
        "break_even": break_even_fraction(law),
        "best_chance": TargetUtility(q.goal, q.horizon).probability(edge) if edge is not None else None,
        "question": {name: getattr(q, name) for name in q.__struct_fields__ if name != "draws"}
        | {"seed": q.draws.seed},
        "methods": [
            {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in row._asdict().items()}
            for row in rows
        ],
    }
