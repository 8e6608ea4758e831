import sys
from pathlib import Path

# `support` lies beside the tests.
sys.path.insert(0, str(Path(__file__).parent))
