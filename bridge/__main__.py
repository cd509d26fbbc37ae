"""`python -m bridge`: the same commands as the console script `bridge`."""

import sys

from bridge.cli import main

sys.exit(main())
