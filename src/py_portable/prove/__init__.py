"""Cells: starting an artifact in an image under a condition, and observing that the condition is in force."""
