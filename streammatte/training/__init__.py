"""Training and fine-tuning of the networks in Paddle: data, transforms, losses and the loop.

Importing this package does not import Paddle.
"""
