"""CWTS, the Cuckoo–Wasp Trading System: a trading engine in one block of memory, on a server or in a browser page."""

from __future__ import annotations

__version__ = "0.1.0"
