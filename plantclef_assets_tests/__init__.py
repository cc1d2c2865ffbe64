"""Tests; their packages mirror those that they test."""
