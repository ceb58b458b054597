"""Config -> digests: the only step that asks the network what a name means."""
