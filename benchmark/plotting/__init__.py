"""What figures show and only a model or a data set can tell: features in a plane, attention, augmented views."""
