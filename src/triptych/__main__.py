"""``python -m triptych``, for ``torchrun -m triptych train`` and machines without the script."""

import sys

from triptych.commands.cli import main

sys.exit(main())
