"""Packets of one's own making."""

import socket

socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)
print("connected")
