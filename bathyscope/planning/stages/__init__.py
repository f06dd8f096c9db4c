"""What each stage costs: its parts on one device, the memory of that device, and the disk. A formula a file."""
