"""The trial ledger: everything that anyone ran, counted by the machine, so that nobody has to say how much was tried.

identity   what makes two trials the same, and which hypothesis a trial is of
file       the ledger on disk: one SQLite file whose rows are chained by hashes, daily returns beside it
reading    what is in it, and whether it is whole
record     runs and sweeps into it
counting   how many trials a record has to be held against, and how different they are
standing   which trial a result is, in one line
"""
