"""`python -m py_portable` is the command line."""

from py_portable.cli import main

if __name__ == "__main__":
    main()
