"""Slow, plain Python twins of the kernel's parts, written from the definitions and the exchanges' rules alone."""
