"""Feature extractors of the networks: each gives a list of maps, finest first, and their ``feat_channels``."""
