"""Still images, one or a folder of them, through the same pipeline as videos."""
