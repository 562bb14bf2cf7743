"""Fit estimators to sums over rows: the sums that users keep, send and add, and what fits them."""
