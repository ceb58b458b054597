"""Layers of an image become a root file system. What they hold is not trusted."""
