"""Splits and classifiers: features and labels in, probabilities of species out, without Dagster."""
