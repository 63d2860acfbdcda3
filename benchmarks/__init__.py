"""The benchmarks of durastate: `python -m benchmarks --list`."""

import sys
from pathlib import Path

# What is measured is this working tree, whether or not a durastate is installed.
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
