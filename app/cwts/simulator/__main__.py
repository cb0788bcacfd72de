"""`python -m cwts.simulator` is `cwts simulate`."""

import sys

from cwts.cli import main

if __name__ == "__main__":
    sys.exit(main(["simulate", *sys.argv[1:]]))
