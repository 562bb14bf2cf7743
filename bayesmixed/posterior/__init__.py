"""Draws from the posterior, their names, tables and diagnostics."""
