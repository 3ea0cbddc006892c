"""`python -m labkit`: the command line without the entry point that installing the package makes."""

from labkit.cli import main

main()
