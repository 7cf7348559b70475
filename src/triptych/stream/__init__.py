"""Video, frame by frame: sources, tracks, counts, and the pipeline that ties them to a network."""
