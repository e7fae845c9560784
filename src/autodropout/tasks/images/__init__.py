"""Classification of images: networks, recipes and batches, and the tasks made of them by name."""
