"""Wheels: their tags, what is inside them, and how they are made."""
