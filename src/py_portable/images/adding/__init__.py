"""Packages and a script on top of an image that no bootstrap made."""
