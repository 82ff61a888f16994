"""`python -m flows.cli`: the console script, for where it is not on the path."""

from flows.cli import main

main()
