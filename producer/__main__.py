"""`python -m producer`: the `cutwork` command, where its script is not on the path."""

from producer.cli.main import main

main()
