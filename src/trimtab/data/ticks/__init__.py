"""Ticks: trades, best quotes and depth updates in the store by UTC day, what is wrong with them, and bars out of them."""
