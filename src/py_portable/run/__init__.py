"""Executes the steps of a plan into the store, independent ones side by side."""
