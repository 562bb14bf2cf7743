"""Turn a data frame and a formula into arrays: what is learned, and its evaluation on any rows."""
