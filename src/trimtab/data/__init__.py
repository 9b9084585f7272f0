"""Market data (L3): the store, import, validation, resampling and panels. Nothing here repairs data silently."""
