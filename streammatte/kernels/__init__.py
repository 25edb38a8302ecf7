"""Numba kernels: pure functions over arrays, no classes, no I/O.

Importing this package points numba's cache at the user's cache folder before numba itself is imported.
"""

from streammatte.cache import prepare_numba_cache

prepare_numba_cache()
