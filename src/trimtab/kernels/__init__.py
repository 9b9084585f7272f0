"""Causal numerical folds (L1): init/step pairs on NamedTuples, no I/O, no clock.

Every kernel remembers a fixed amount, reads one row, and is NaN until it has seen enough rows. Windows end at the row
that was read last, and include it. A state is returned by value but its rings are written in place: a state that was
handed to `step` must not be used again, and a snapshot is a deep copy.

`cointegration` is the one exception: tests over a whole window, in plain numpy, for a strategy's fit.

Importing this package loads nothing; its modules load numba.
"""
