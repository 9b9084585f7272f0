"""The court: does a record deserve belief? Tests with stated thresholds, and the verdict that follows from them.

finding     what one test says
case        what is judged: a run, its record, and what the trial ledger holds against it
statistics  tests of the record: costs, length, deflated Sharpe, overfitting, superiority
stress      tests of what the record rests on: parameters, costs, prices, entries, starts, periods, capital
verdict     PASS, FAIL or NOT ENOUGH DATA, with the reasons and what would be needed
"""
