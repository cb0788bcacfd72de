"""Bytes in, bytes out: what drives the sessions of `cwts.exchanges` natively, and the buffer in front of an engine."""
