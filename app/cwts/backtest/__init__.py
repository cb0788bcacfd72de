"""Backtests: recordings through the real engine, and what its paper account made of them, next to plain baselines."""
