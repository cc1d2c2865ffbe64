"""Engines: run one function over many shards."""
