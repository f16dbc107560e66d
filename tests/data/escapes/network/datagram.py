"""A message without a connection."""

import socket

with socket.socket(type=socket.SOCK_DGRAM) as connection:
    connection.sendto(b"x", ("1.1.1.1", 53))
print("connected")
