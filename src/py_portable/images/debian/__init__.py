"""Debian images, bootstrapped with mmdebstrap through the machine's own apt configuration."""
