"""A data frame and a formula become arrays: what is learned, and its evaluation on any rows."""
