"""The figures that Trimtab claims, each with the command that makes it: `python -m benchmarks --list`."""
