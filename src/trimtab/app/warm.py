"""Compile what a first backtest and a first engine need, once: `python -m trimtab.app.warm`, before tests are spread
over processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from trimtab.app.live import account_of
from trimtab.engine import core
from trimtab.research.synthetic import synthetic_panel
from trimtab.sim import warm
from trimtab.types import Limits, Model, Spec
from trimtab.venues import Cash, Crossed, Ended, Liquidated, Submit, Working


def main() -> None:
    """What `sim.warm` compiles, then an account that meets every kind of report."""
    warm.main()
    panel = synthetic_panel(0, 60, 2, "1h")
    spec = Spec(
        models=(Model(strategy="buy_and_hold"),), universe=panel.symbols, timeframe="1h", base_currency="USD",
        limits=Limits(stop_loss=0.05, trailing_stop=0.05), volume="ignore",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        first = np.nan_to_num(panel.values[0], nan=1.0)
        account = account_of(spec, panel.instruments, panel.fields, first, int(panel.ts[0]), Path(folder))
        state = account.before()
        venue = account.paper(state).venue
    for ts, bars in zip(panel.ts.tolist(), panel.values, strict=True):
        rows = np.array(bars)
        events: list[core.Event] = [core.Bars(ts, rows), *venue.row(ts, rows), core.Close(ts)]
        for event in events:
            state, commands = core.handle(state, event)
            for command in commands:
                if isinstance(command, Submit):
                    venue.send(command)
    ts = state.tape.ts
    rest: list[core.Event] = [
        Working("", 0, 1, 1, 0, 0, 0, 0),
        Crossed(0, 100.0, ts),
        Cash("", 0, 1.0, ts),
        core.Adjusted("", 0, 1, 100.0, 0, 0.0, ts),
        Liquidated("w", 0, -1, 100.0, ts),
        core.Command("kill", "", ts),
        core.Command("resume", "", ts),
        *(Ended(cid, s.instrument, s.slot, 5, 0, ts) for cid, s in state.sent.items()),
    ]
    for event in rest:
        state, _ = core.handle(state, event)


if __name__ == "__main__":
    main()
