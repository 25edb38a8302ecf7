"""The networks: architectures in Paddle, their names and their weights.

Importing this package does not import Paddle; :func:`create` does.
"""

from streammatte.networks.registry import create, names

__all__ = ["create", "names"]
