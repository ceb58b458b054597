"""Interpreters by provider: each module gives the step that makes one, self-sufficient, at /opt/python."""
