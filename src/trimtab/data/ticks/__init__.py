"""Ticks: trades, best quotes and depth updates in the store, by UTC day; what is wrong with them; bars out of them."""
