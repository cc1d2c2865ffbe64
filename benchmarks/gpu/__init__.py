"""Speed of one GPU with ViT-B/14 at 518 px: `python -m benchmarks gpu`, at most four minutes.

Needs torch, timm, pyarrow, pillow, numpy and their dependencies, but neither Dagster nor DuckDB. Weights are random and
seeded, photographs are generated. Each arm compares its features with those of the same model in fp32.
"""
