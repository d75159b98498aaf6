"""Ways to run the tasks of a grid."""
