"""Still pictures, one or a folder of them, through the same pipeline as films: read | matted | composited | written."""
