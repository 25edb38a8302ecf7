"""``python -m streammatte``."""

from streammatte.cli import main

main()
