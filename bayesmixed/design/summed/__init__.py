"""Sums over rows with the labels to which they belong, so that parts of a data set add up wherever they were made."""
