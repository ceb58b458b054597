"""The kit's own release: what `scripts/release` does. No part of what is installed."""
