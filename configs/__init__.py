"""Presets and model cards, as data; the package exists so that they are found in an installed wheel."""
