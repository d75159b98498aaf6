"""Arrays that only a model can give: features, views, attention, frequencies. Drawing them is results/plots."""
