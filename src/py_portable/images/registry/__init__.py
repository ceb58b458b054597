"""Images from registries and archive files: names, digests, and how their layers get here."""
