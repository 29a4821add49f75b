"""`python -m fpbench`."""

from fpbench.cli.main import main

main()
