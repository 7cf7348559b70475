"""``python -m triptych``, for ``torchrun -m triptych train`` and machines without the script."""

import sys

from triptych.cli import main

sys.exit(main())
