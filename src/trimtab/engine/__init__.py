"""The driver of paper and live trading (L4): what a compiled loop does in a backtest, folded over events as they come.

Never imports `sim`: the rules are the same, the driver is another.
"""
