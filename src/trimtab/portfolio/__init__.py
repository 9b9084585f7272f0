"""From forecasts to weights (L2): budgets and the sizing of each model."""
