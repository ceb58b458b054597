"""The template, the child pipeline, and what their jobs do."""
