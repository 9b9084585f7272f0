"""The measured tables of the documentation are those that are measured now."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import calibrated, tables
from benchmarks.tables import TABLES, Table
from trimtab.strategies import names

MADE = [table for table in TABLES if not table.real]
REAL = [table for table in TABLES if table.real]


def page(table: Table) -> str:
    return (tables.ROOT / "docs" / table.page).read_text(encoding="utf-8")


def again(table: Table) -> None:
    made = table.make()
    assert tables.shown(table, page(table)) == made.strip() + "\n", (
        f"docs/{table.page} shows another table: python -m benchmarks.tables {table.page.removesuffix('.md')}"
    )


@pytest.mark.parametrize("table", MADE, ids=[table.name for table in MADE])
def test_a_table_is_as_it_is_made(table: Table) -> None:
    again(table)


@pytest.mark.parametrize("table", REAL, ids=[table.name for table in REAL])
def test_a_table_of_real_data_is_as_it_is_made(table: Table, shared: Path) -> None:
    again(table)


def test_every_strategy_of_the_twelve_that_there_is_has_its_row() -> None:
    text = page(next(table for table in TABLES if table.name == "BTCEUR"))
    assert len(set(tables.TWELVE)) == 12
    assert not [name for name in tables.TWELVE if name in names() and f"| `{name}` |" not in text]


def test_tables_are_found_and_put_into_their_place() -> None:
    table = Table("one", "page.md", lambda: "| a |\n")
    text = "Before.\n\n<!-- table one -->\n<!-- end -->\n\n<!-- table other -->\nkept\n<!-- end -->\n"
    new = tables.with_table(table, text, table.make())
    assert new == (
        "Before.\n\n<!-- table one -->\n\n| a |\n\n<!-- end -->\n\n<!-- table other -->\nkept\n<!-- end -->\n"
    )
    assert tables.with_table(table, new, table.make()) == new
    assert tables.shown(table, new) == "| a |\n"
    with pytest.raises(SystemExit, match="there is no"):
        tables.shown(table._replace(name="none"), text)


def test_a_page_that_is_out_of_date_is_told_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table("one", "page.md", lambda: "| new |\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "TABLES", (table,))
    (tmp_path / "docs").mkdir()
    path = tmp_path / "docs" / "page.md"
    path.write_text("<!-- table one -->\n| old |\n<!-- end -->\n")
    assert tables.main(["page", "--check"]) == 1
    assert "old" in path.read_text()
    assert tables.main([]) == 0
    assert "| new |" in path.read_text()
    assert tables.main(["one", "--check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "docs/page.md: one: as it is"
    with pytest.raises(SystemExit):
        tables.main(["nothing"])


def test_every_share_of_the_page_is_within_two_standard_errors_or_nearly_all() -> None:
    """By the published draws; of 24 right ones, 1 in 20 is further off."""
    shares = calibrated.edge_shares()
    assert all(abs(share.off) < 4.0 for share in shares)
    assert sum(abs(share.off) > 2.0 for share in shares) <= 1


@pytest.mark.nightly
def test_ten_times_as_many_draws_agree(shared: Path) -> None:
    noises = {**calibrated.kinds("made", tables.DATA), **calibrated.kinds("real", tables.DATA)}
    shares = [*calibrated.deflated_shares(noises, 10), *calibrated.edge_shares(10)]
    # A share below one in a thousand is held against its upper bound: draws are too few for its law.
    common = [share for share in shares if share.computed > 0.001]
    assert all(share.found < 0.003 for share in shares if share.computed <= 0.001)
    assert all(abs(share.off) < 4.0 for share in common), common
    assert sum(abs(share.off) > 2.0 for share in common) <= len(common) // 8, common
    for name, (alone, ordered, together) in calibrated.family_rates(noises, 4).items():
        assert abs(alone.value - (1.0 - 0.95**12)) < 4.0 * alone.error, name
        assert together.value <= 0.05 < ordered.value + 2.0 * ordered.error, name
    for name, (pbo, spa, reality) in calibrated.selection_rates(noises, 5).items():
        assert abs(pbo.value - 0.5) < 4.0 * pbo.error, name
        for rate in (spa, reality):
            assert abs(rate.value - 0.05) < 4.0 * rate.error, name
