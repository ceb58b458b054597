"""The sample app of py-portable."""
