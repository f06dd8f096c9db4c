"""`python -m bathyscope` is the same as `bathyscope`."""

import sys

from bathyscope.cli import main

sys.exit(main())
