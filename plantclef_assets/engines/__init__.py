"""Engines: run one function over many shards, in local processes or on Spark; and progress reports."""
