"""The program behind the action and the workflow."""
