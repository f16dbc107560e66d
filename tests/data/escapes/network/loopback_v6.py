"""A service of this machine, by IPv6 and as a mapped address."""

import socket
import sys

with socket.socket(socket.AF_INET6) as connection:
    connection.settimeout(3)
    connection.connect(("::ffff:127.0.0.1", int(sys.argv[1])))
print("connected")
