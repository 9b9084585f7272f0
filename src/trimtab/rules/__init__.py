"""Trading rules (L1), pure and compiled once: the same functions serve the backtest, paper and live."""
