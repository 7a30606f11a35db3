"""Programs, and what they share: the training loop, prediction, distribution over ranks."""

import sys
from pathlib import Path

# Programs import _checkout, which lies beside them: `python -m tools.predict` finds it too.
_FOLDER = str(Path(__file__).resolve().parent)
if _FOLDER not in sys.path:
    sys.path.append(_FOLDER)
