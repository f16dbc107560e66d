"""A network interface beside the loopback."""

import socket
import sys

if {name for _, name in socket.if_nameindex()} == {"lo"}:
    sys.exit(1)
print("connected")
