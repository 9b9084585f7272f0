"""Research (L3): what a run is worth, and the page that shows it."""
