"""How much of a run's figures survives when what it rests on is moved: pure functions of (spec, panel, what to move).

bootstrap  bands of CAGR, drawdown and Sharpe over records that the same market could have given
jitter     parameters moved a little: does the Sharpe stand on a plateau or on a needle
costs      trading costs times 0 … 5, and the multiple at which the book earns nothing
noise      prices measured a little wrong
entries    the same round trips, entered at random
starts     the same book begun on other days
periods    a table by year, by equal parts and by regime
capacity   Sharpe and return by capital, and the capital at which market impact takes half of the Sharpe

Every run goes through the same driver as a backtest and is recorded nowhere. The same seed gives the same figures,
whatever the number of threads. Undefined is NaN, and `why` says the reason.
"""
