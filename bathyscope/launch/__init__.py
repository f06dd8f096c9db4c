"""Stages run by several processes: a group of processes started and kept alive, work shared out and joined."""
