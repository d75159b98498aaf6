"""What cells will cost before they run: work and memory counted without values, and time on known devices."""
