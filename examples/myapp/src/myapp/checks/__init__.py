"""One module for each library; its check() raises where the library does not do its work."""
