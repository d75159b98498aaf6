"""Data for figures that need a model: features, views, attention, frequencies. results/plots draws them."""
