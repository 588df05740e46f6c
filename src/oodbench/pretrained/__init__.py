"""Weights and outputs that were made by other code."""
