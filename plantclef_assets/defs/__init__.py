"""The asset graph: one module for each stage of the chain, with its assets, their checks and their pictures."""
