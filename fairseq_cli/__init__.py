"""The command-line tools. Each module parses its command line and calls the library."""

import fairseq  # noqa: F401 - before the tools, so that they lend their names as fairseq's modules do
