"""Paddle Inference."""
