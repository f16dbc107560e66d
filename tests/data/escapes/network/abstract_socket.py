"""A UNIX socket without a file."""

import socket
import sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(f"\0highway-test-{sys.argv[1]}")
print("connected")
