"""How fast the pipeline and the networks are on this machine."""
