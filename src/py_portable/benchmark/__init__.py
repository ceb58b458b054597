"""Start-up of artifacts against the bare interpreter, in cells."""
