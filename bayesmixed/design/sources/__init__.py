"""Where rows come from: files, streams, lazy frames and clusters, each read in chunks of which few are in memory."""
