"""Tests in network namespaces: the lab itself, and meshcall in it."""
