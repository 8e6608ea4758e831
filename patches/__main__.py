"""``python -m fairseq_patches``; also the target of the console script ``fairseq-patch``."""

from .cli import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
