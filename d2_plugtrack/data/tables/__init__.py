"""Records of a dataset in arrays, and these in a cache file."""
