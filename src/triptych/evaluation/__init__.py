"""How good a model is: all figures of a data set from one forward pass an image."""
