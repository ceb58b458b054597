"""The package index: it is asked what a name means, and files are fetched from it by their digest."""
