"""Helpers beside the tests (``small_data``, ``tiny_transformer``, ``toys``) can be imported from every folder below."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
