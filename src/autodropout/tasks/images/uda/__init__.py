"""Unsupervised Data Augmentation (Xie et al. 2019): learning from few labels and many images without."""
