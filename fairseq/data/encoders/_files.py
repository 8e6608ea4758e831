"""What encoders share: the files they need, and packages that may be missing."""

import importlib
from typing import Any

from fairseq import file_utils
from fairseq.dataclass.configs import MISSING

__all__ = ["needed_file", "needed_package"]

# The extra of this package that has the encoders' packages, and those it has.
EXTRA = "text"
IN_EXTRA = ("sentencepiece", "tokenizers", "transformers", "nltk", "sacremoses", "subword-nmt")


def needed_file(cfg: Any, field: str, bpe: str) -> str:
    """The local path of a file that an encoder cannot do without; a URL is fetched, once.

    Raises:
        ValueError: the option was not given.
        FileNotFoundError: there is no such file.
    """
    path = getattr(cfg, field, None)
    if path in (None, "", MISSING):
        raise ValueError(f"--{field.replace('_', '-')} is required for --bpe={bpe}")
    return file_utils.cached_path(path)


def needed_package(module: str, package: str | None = None) -> Any:
    """Import an optional package.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # A package that is there and cannot be loaded is another matter than one that is missing.
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == module.split(".")[0]:
            package = package or module
            extra = f", or all of them with: pip install 'fairseq[{EXTRA}]'" if package in IN_EXTRA else ""
            raise ImportError(f"Please install {package} with: pip install {package}{extra}") from error
        raise
