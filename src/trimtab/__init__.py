"""Trimtab: systematic trading on one path."""
