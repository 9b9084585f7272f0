"""The tables of the documentation that are measured: `python -m benchmarks.tables [NAME…] [--check]` writes them anew.

calibration  docs/calibration.md: what the court's tests say of noise, and of edges that are known
twelve       docs/twelve.md: the strategies of the court on real bars, as it comes out; needs ../shared/data

In a page a table stands between `<!-- table NAME -->` and `<!-- end -->`; what is around it is written by hand. With
--check nothing is written, and the exit code is 1 where a page shows another table.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
DATA: Final = ROOT.parent / "shared" / "data"


class Table(NamedTuple):
    """A table of a page: its name, its page, what makes it, and whether it needs real data."""

    name: str
    page: str
    make: Callable[[], str]
    real: bool = False


class Real(NamedTuple):
    """Bars of one instrument that strategies are judged on."""

    symbol: str
    file: str
    asset_class: str
    venue: str


#: In the order of the issue that asked for them; those that are not there yet are left out.
TWELVE: Final = (
    "lag_autocorr",
    "variance_ratio",
    "hurst_exponent",
    "drift_significance",
    "spectral_peaks",
    "permutation_entropy",
    "volatility_clustering",
    "spectral_entropy",
    "vpin",
    "wavelet_energy",
    "pacf_spike",
    "true_range_divergence",
)
BTCEUR: Final = Real("BTCEUR", "crypto_bitvavo/BTCEUR_1h.parquet", "crypto", "bitvavo")
SPY: Final = Real("SPY", "equity_us/SPY_1h.parquet", "equity", "alpaca")
CAPITAL: Final = 100_000.0


def verdicts(of: Real) -> str:
    """Every strategy that trades such instruments before the court at once, with a ledger that nobody wrote to."""
    import polars as pl

    from trimtab.data.catalogue import default_instrument
    from trimtab.research.court.field import judge_all
    from trimtab.research.court.field_table import markdown
    from trimtab.strategies import find, names
    from trimtab.types import Panel

    fit = [
        name
        for name in TWELVE
        if name in names() and (not find(name).asset_classes or of.asset_class in find(name).asset_classes)
    ]
    instrument = default_instrument(of.symbol, of.asset_class, of.venue)
    panel = Panel.from_frames({of.symbol: pl.read_parquet(DATA / of.file)}, "1h", [instrument])
    with _ledger():
        return markdown(*judge_all(fit, panel, capital=CAPITAL))


@contextmanager
def _ledger() -> Iterator[None]:
    """A trial ledger of its own, that is thrown away."""
    before = os.environ.get("TRIMTAB_TRIALS")
    with tempfile.TemporaryDirectory(prefix="trimtab-tables-") as folder:
        os.environ["TRIMTAB_TRIALS"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TRIMTAB_TRIALS"]
            else:
                os.environ["TRIMTAB_TRIALS"] = before


def _calibrated(part: str, kind: str = "made") -> Callable[[], str]:
    def made() -> str:
        from benchmarks import calibrated

        return getattr(calibrated, part)(calibrated.kinds(kind, DATA))

    return made


TABLES: Final = (
    Table("deflated", "calibration.md", _calibrated("deflated")),
    Table("family", "calibration.md", _calibrated("family")),
    Table("power", "calibration.md", _calibrated("edges")),
    Table("selection", "calibration.md", _calibrated("selection")),
    Table("deflated real", "calibration.md", _calibrated("deflated", "real"), real=True),
    Table("selection real", "calibration.md", _calibrated("selection", "real"), real=True),
    Table("BTCEUR", "twelve.md", lambda: verdicts(BTCEUR), real=True),
    Table("SPY", "twelve.md", lambda: verdicts(SPY), real=True),
)


# --- pages -----------------------------------------------------------------------------------------------------------


def shown(table: Table, text: str) -> str:
    """What a page shows of a table."""
    found = _place(table).search(text)
    if found is None:
        raise SystemExit(f"docs/{table.page}: there is no <!-- table {table.name} --> … <!-- end -->")
    return found[2].strip() + "\n"


def with_table(table: Table, text: str, made: str) -> str:
    """The page with the table as it was made now."""
    shown(table, text)
    return _place(table).sub(lambda found: f"{found[1]}\n\n{made.strip()}\n\n{found[3]}", text)


def _place(table: Table) -> re.Pattern[str]:
    return re.compile(rf"(<!-- table {re.escape(table.name)} -->)(.*?)(<!-- end -->)", re.S)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description="Tables that are measured.")
    parser.add_argument("names", nargs="*", help="calibration, twelve, or names of tables; none: all")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a page is out of date")
    asked = parser.parse_args(words)
    chosen = [t for t in TABLES if not asked.names or {t.name, t.page.removesuffix(".md")} & set(asked.names)]
    if not chosen:
        parser.error(f"no table of that name; there are {', '.join(table.name for table in TABLES)}")
    late = 0
    for table in chosen:
        if table.real and not DATA.is_dir():
            print(f"{table.name}: left out, it needs {DATA}", file=sys.stderr)
            continue
        page = ROOT / "docs" / table.page
        text = page.read_text(encoding="utf-8")
        new = with_table(table, text, table.make())
        late += new != text
        print(f"docs/{table.page}: {table.name}: {'as it is' if new == text else 'another'}")
        if not asked.check:
            page.write_text(new, encoding="utf-8")
    return 1 if asked.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
