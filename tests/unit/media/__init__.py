"""Tests of meshcall.media."""
