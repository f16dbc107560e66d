"""Where runs are kept. The engine sees ``manager`` alone; the rest are implementations of it."""
