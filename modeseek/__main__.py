"""``python -m modeseek`` is the command line."""

from modeseek.cli import main

main()
