"""An app that tells what an app can see of how it was packed."""
