"""Model cards, files and downloads; needs no Paddle."""
