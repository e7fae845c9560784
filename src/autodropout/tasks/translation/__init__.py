"""Translation: corpus, loss, recipe, BLEU, and the tasks made of them by name."""
