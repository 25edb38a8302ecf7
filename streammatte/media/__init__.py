"""The boundary to PyAV and Pillow: planes, containers, still images."""
