"""The options of every command, declared once: see :mod:`streammatte.options.declare`."""
