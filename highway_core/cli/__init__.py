"""The command line: what ``cli.py``, and the console script ``highway``, parse, call and print."""
