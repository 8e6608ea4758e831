"""The command-line tools. Each module parses its command line and calls the library."""
