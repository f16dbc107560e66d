"""What a name server knows."""

import socket

print("connected", socket.getaddrinfo("example.org", 80))
