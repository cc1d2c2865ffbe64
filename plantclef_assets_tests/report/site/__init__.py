"""Tests of the report as a static site."""
