"""What a record of returns proves, once it is counted how much was tried: pure functions, numbers in and numbers out.

sharpe       a Sharpe ratio's probability, length of record, deflation by the number of trials, and power
trials       many trials as one matrix; of how many independent ones they are worth
overfitting  probability of backtest overfitting, by combinatorially symmetric cross-validation
multiple     many tests at once: family-wise error and false discoveries
bootstrap    the stationary bootstrap: paths of a record, and bands of its figures
superiority  White's reality check and Hansen's test of superior predictive ability
calibration  what each of them says of noise, and of an edge that is known

Everything is per period (a day's Sharpe with days), never annualised, but where a name says so. Undefined is NaN, and
the result or `why_undefined` gives the reason; what is no input at all raises TrimtabError.
"""
