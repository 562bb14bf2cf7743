"""Predictions as plain arithmetic on a posterior: means, intervals, draws, new groups."""
