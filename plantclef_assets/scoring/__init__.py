"""Tile predictions → species of a plot → submission → scores, without Dagster, torch or Spark."""
