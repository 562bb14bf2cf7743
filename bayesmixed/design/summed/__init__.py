"""Sums over rows with the labels that they belong to, so that parts of a data set add up wherever they were made."""
