"""A service of this machine."""

import socket
import sys

socket.create_connection(("127.0.0.1", int(sys.argv[1])), 3)
print("connected")
