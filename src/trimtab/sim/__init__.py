"""The compiled driver (L3): folds the rules over history."""
