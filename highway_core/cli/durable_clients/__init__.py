"""How the durable commands ask for what they want: one set of requests, over the network or inside this process."""
