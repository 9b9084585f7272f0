"""The rim (L5): settings, the command line, and the only place that constructs things."""
