"""Decoding, cropping, tiling, backbones and their features: pixels in, numbers out, without Dagster."""
