"""So that `python3 -m myapp` works as well."""

from myapp.myapp import main

main()
