"""Market regimes (L2): what kind of market it is, named from closed rows only, and what a book makes of that.

A classifier is stepped like a strategy: `Params`, `init(p) -> s`, `step(p, s, x) -> (s, label)` on one row. Labels are
small integers, each regime's `names` give the words, and -1 is unknown. `table.REGIMES` lists them; `budgets` turns
labels into multipliers; `adaptive` scales by volatility and regime.

Compiled functions here call kernels and functions of their own file, never another file of this package: numba's disk
cache does not see an edit in an imported module, and the cache folder's name follows the kernels but not this package.

Importing this package loads nothing; its modules load numba, apart from `labels` and `budgets`.
"""
