"""What a job will cost before it runs: FLOPs, bytes, memory, disk, hours, and how to lay it out over devices."""
