"""Runs over images and films on disk, and the files they write."""
