"""Where rows come from: files, streams, lazy frames and clusters, read in chunks of which few are in memory at once."""
