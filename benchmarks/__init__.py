"""Benchmarks: each measures a plain loop and the platform's code in turn, and prints ratios."""
