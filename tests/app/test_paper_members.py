"""Who may be held, on feeds that are not the store's: applied, or refused by name, and never passed over."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from trimtab.app.cli import app
from trimtab.app.cli_paper import FeedChoice, _source_of
from trimtab.app.paper import Source
from trimtab.data.catalogue import default_instrument, with_changes
from trimtab.data.store import COLUMNS, open_store, write_bars
from trimtab.feeds import Feed, GridRow
from trimtab.types import Model, Spec

MODEL = "models: [{strategy: buy_and_hold}]\nuniverse: [AAA, BBB]\ntimeframe: 1h\n"


def silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


def synthetic(spec: Spec, root: Path) -> Source:
    return _source_of(spec, FeedChoice(feed="synthetic", days=4.0), root, 0, root / "account", silent)


async def rows_of(feed: Feed) -> list[GridRow]:
    return [event async for event in feed.rows(0) if isinstance(event, GridRow)]


def test_a_synthetic_feed_has_the_members_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("symbol,from,to\nAAA,2020-01-02,2020-01-03\nBBB,,\n")
    spec = Spec(
        models=(Model(strategy="buy_and_hold"),), universe=("AAA", "BBB"), timeframe="1h",
        members=str(tmp_path / "who.csv"),
    )  # fmt: skip
    feed = synthetic(spec, tmp_path).feed
    rows, column = asyncio.run(rows_of(feed)), feed.fields.index("member")
    told = [row.bars[:, column].tolist() for row in rows]
    assert told == [[float(1_577_923_200 <= row.ts // 10**9 < 1_578_009_600), 1.0] for row in rows]
    assert [1.0, 1.0] in told
    assert "member" not in synthetic(msgspec.structs.replace(spec, members=""), tmp_path).feed.fields


@pytest.mark.parametrize(
    ("members", "days", "said"),
    [
        ("who.csv", {}, "who.csv: --feed binance cannot tell who belongs"),
        ("", {"delisted": "2030-01-01"}, "AAA: delisted 2030-01-01: --feed binance cannot close it"),
        ("", {"listed": "2999-01-01"}, "AAA: listed 2999-01-01: --feed binance cannot wait"),
    ],
)
def test_a_live_feed_that_cannot_say_who_belongs_is_refused(
    members: str, days: dict[str, str], said: str, tmp_path: Path
) -> None:
    bar = pl.DataFrame({"open_time": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], **{c: [1.0] for c in COLUMNS[1:]}})
    bar = bar.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))
    write_bars(open_store(tmp_path / "s"), with_changes(default_instrument("AAA"), **days), "1h", bar)
    path = tmp_path / "book.yaml"
    (tmp_path / "who.csv").write_text("symbol,from,to\nAAA,,\nBBB,,\n")
    path.write_text(MODEL + (f"members: {members}\n" if members else ""))
    words = ["paper", str(path), "--feed", "binance", "--deadline", "0", "--data", str(tmp_path / "s")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "account")])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not (tmp_path / "account").exists()
