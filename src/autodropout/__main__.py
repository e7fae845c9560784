"""``python -m autodropout`` is the command ``autodropout``."""

import sys

from autodropout.cli import main

if __name__ == "__main__":
    sys.exit(main())
