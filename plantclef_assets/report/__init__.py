"""Report: pictures that people look at."""
