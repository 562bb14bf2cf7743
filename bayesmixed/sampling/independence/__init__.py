"""Adaptive independence Metropolis-Hastings; knows no model."""
