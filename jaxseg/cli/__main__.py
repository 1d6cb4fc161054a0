"""`python -m jaxseg.cli`, the command where it is not on the path."""

import sys

from jaxseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
