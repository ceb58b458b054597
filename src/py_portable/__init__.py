"""py-portable: build a Python command-line app in portable formats and prove that each of them starts."""

__version__ = "0.1.0"
