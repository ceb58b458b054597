"""The package index: asked what a name means, and files fetched from it by their digest."""
