"""What a model wants to hold, as it stands: forecasts, multiples and factors folded into weights."""
